package store_test

import (
	"testing"

	"culvert/internal/resource"
	"culvert/internal/store"
	"culvert/internal/store/pgtest"
	"culvert/internal/store/storetest"
)

func TestSQLite(t *testing.T) {
	storetest.Run(t, func(t *testing.T) storetest.Open {
		return opener(t, store.Config{Dir: t.TempDir()})
	})
}

func TestPostgres(t *testing.T) {
	cluster := pgtest.StartCluster(t)
	storetest.Run(t, func(t *testing.T) storetest.Open {
		return opener(t, store.Config{URL: cluster.Database(t)})
	})
}

func opener(t *testing.T, c store.Config) storetest.Open {
	return func() (resource.Store, error) { return store.Open(t.Context(), c) }
}
