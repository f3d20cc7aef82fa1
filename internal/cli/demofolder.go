package cli

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// demoMarker is the file that says that a folder is a demo's, so that it may be emptied.
const demoMarker = "culvert-demo"

// demoLogName is the file in the demo's folder that outlives the demo.
const demoLogName = "server.log"

// cloudsHead is the first line of a clouds.yaml that a demo wrote, and so may write anew.
const cloudsHead = "# Written by culvert demo.\n"

// checkFolder fails unless the folder is the demo's to empty: missing, empty, or marked by an earlier demo. It changes
// nothing.
func checkFolder(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("--data: %w", err)
	}
	if len(entries) == 0 || marked(dir) {
		return nil
	}
	return fmt.Errorf("--data %s is not a demo's folder: choose an empty one", dir)
}

func marked(dir string) bool {
	info, err := os.Lstat(filepath.Join(dir, demoMarker))
	return err == nil && info.Mode().IsRegular()
}

// markFolder makes the folder and marks it as the demo's.
func markFolder(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("data folder: %w", err)
	}
	if err := os.WriteFile(filepath.Join(dir, demoMarker), []byte("culvert demo empties this folder at every start\n"), 0o600); err != nil {
		return fmt.Errorf("data folder: %w", err)
	}
	return nil
}

// unmark says that somebody else uses the folder from now on: no demo may empty it any more.
func unmark(dir string) error {
	if err := os.Remove(filepath.Join(dir, demoMarker)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("data folder: %w", err)
	}
	return nil
}

// emptyFolder removes what lies in a marked folder, but for the marker and what is to stay.
func emptyFolder(dir string, stays ...string) error {
	if !marked(dir) {
		return nil
	}
	entries, err := os.ReadDir(dir)
	errs := []error{err}
	keep := map[string]bool{demoMarker: true}
	for _, name := range stays {
		keep[name] = true
	}
	for _, e := range entries {
		if !keep[e.Name()] {
			errs = append(errs, os.RemoveAll(filepath.Join(dir, e.Name())))
		}
	}
	return errors.Join(errs...)
}

// checkClouds fails when the file exists and no demo wrote it.
func checkClouds(path string) error {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("--clouds: %w", err)
	}
	if !bytes.HasPrefix(text, []byte(cloudsHead)) {
		return fmt.Errorf("--clouds %s was not written by a demo: choose another file, or remove it", path)
	}
	return nil
}

// writeClouds writes a clouds.yaml that only its owner can read.
func writeClouds(path, url, password string) error {
	text := fmt.Sprintf(cloudsHead+`clouds:
  culvert:
    region_name: RegionOne
    identity_api_version: 3
    auth:
      auth_url: %s/identity/v3
      username: admin
      password: %q
      project_name: admin
      user_domain_name: Default
      project_domain_name: Default
`, url, password)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("clouds.yaml: %w", err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		return fmt.Errorf("clouds.yaml: %w", err)
	}
	return nil
}
