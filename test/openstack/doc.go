// Package openstack tests Culvert beside an OpenStack: a real Keystone and a real Neutron from Debian's packages, with
// Neutron's own linuxbridge and L3 agents, which the script stack starts in a sandbox and ends again, and the program itself
// in front of them. It is heavy, so that `make test-openstack` alone runs it (build tag openstack, as root). No look-alike of
// any of them may enter.
//
// CULVERT_OPENSTACK may name the folder of a stack that is up already: it is used, where the tests were started, and left up.
package openstack
