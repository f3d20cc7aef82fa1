// Package openstack tests Culvert beside an OpenStack: a real Keystone and a real Neutron from Debian's packages, which the
// script stack starts on loopback and ends again, and the program itself in front of them. It is heavy, so that
// `make test-openstack` alone runs it (build tag openstack, as root). No look-alike of either may enter.
//
// One thing is not the real one: no L3 agent of Neutron's runs. Where a router must exist on the machine, the test makes
// its namespace qrouter-<id> with the interfaces, addresses and routes that Neutron names, as that agent would.
//
// CULVERT_OPENSTACK may name the folder of a stack that is up already; it is used, and left up.
package openstack
