package gateway

import (
	"testing"

	"culvert/internal/testbox"
)

func TestMain(m *testing.M) { testbox.Main(m, nil) }
