// Pins, with go.sum, the acceptance suite that gophercloud_test.go runs out of the module cache.
module culvert/test/conformance/gophercloud

go 1.26.0

require github.com/gophercloud/gophercloud/v2 v2.15.0
