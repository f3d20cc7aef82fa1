package lab

import (
	"errors"
	"fmt"
)

// Sweep takes away hosts and branches of these names that a killed program left.
func Sweep(runDir string, names ...string) error {
	var errs []error
	for _, name := range names {
		b := &Branch{cfg: Config{Name: name, RunDir: runDir}, Host: &Host{HostConfig{Name: name}}}
		if err := errors.Join(b.endLeftover(), b.Close()); err != nil {
			errs = append(errs, fmt.Errorf("sweep %s: %w", name, err))
		}
	}
	return errors.Join(errs...)
}
