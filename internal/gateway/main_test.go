package gateway

import (
	"testing"

	"culvert/internal/testbox"
	"culvert/internal/uml"
)

func TestMain(m *testing.M) {
	uml.Main()
	testbox.Main(m, nil)
}
