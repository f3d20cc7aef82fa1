package topology

import (
	"context"

	"culvert/internal/crud"
	"culvert/internal/identity"
	"culvert/internal/resource"
)

// VPCSubnets are a project's subnets, but for those of external networks, as clients of Open Telekom Cloud's v1 API see them:
// there a router is a VPC, and a network with its one subnet is a subnet, whose id is the network's. Oldest first; vpc_id is
// "" for a subnet on no router.
func (t *Topology) VPCSubnets(ctx context.Context, c identity.Caller, project string) (out []map[string]string, err error) {
	if project == "" || !c.MayRead(project) {
		return nil, resource.Errorf(403, "PolicyNotAuthorized", "get_subnet is disallowed by policy: it needs a role in the project")
	}
	out = []map[string]string{}
	err = t.svc.Store.View(ctx, func(r resource.Reader) error {
		subnets, err := crud.LoadAll[Subnet](ctx, r, resource.Query{Kind: kindSubnet, ProjectID: project})
		if err != nil {
			return err
		}
		for _, s := range subnets {
			n, _, err := load[Network](ctx, r, kindNetwork, s.NetworkID)
			if err != nil {
				return err
			}
			if n.External {
				continue
			}
			one, err := vpcSubnet(ctx, r, s, n)
			if err != nil {
				return err
			}
			out = append(out, one)
		}
		return nil
	})
	return out, err
}

func vpcSubnet(ctx context.Context, r resource.Reader, s *Subnet, n *Network) (map[string]string, error) {
	one := map[string]string{"id": n.ID, "name": s.Name, "cidr": s.CIDR, "gateway_ip": "", "vpc_id": "", "status": n.Status,
		"neutron_network_id": n.ID, "neutron_subnet_id": s.ID}
	if s.GatewayIP != nil {
		one["gateway_ip"] = *s.GatewayIP
	}
	ports, err := usersOf[Port](ctx, r, kindPort, s.ID)
	for _, p := range ports {
		if p.Owner == ownerInterface && one["vpc_id"] == "" {
			one["vpc_id"] = p.DeviceID
		}
	}
	return one, err
}
