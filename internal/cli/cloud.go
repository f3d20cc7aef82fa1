package cli

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"culvert/internal/keystone"
)

// cloudFlags put a server beside an OpenStack.
type cloudFlags struct {
	Identity            string `default:"own" enum:"own,keystone" env:"CULVERT_IDENTITY" help:"own: users and projects are kept here; keystone: tokens are those of a Keystone (${default})."`
	KeystoneURL         string `env:"CULVERT_KEYSTONE_URL" placeholder:"URL" help:"The Keystone, such as https://cloud.example.net:5000/v3."`
	ServiceUser         string `default:"culvert" env:"CULVERT_SERVICE_USER" placeholder:"NAME" help:"The user by whom Keystone and Neutron are asked (${default}): the role service validates tokens; to read all routers it needs admin."`
	ServicePasswordFile string `env:"CULVERT_SERVICE_PASSWORD_FILE" type:"existingfile" placeholder:"FILE" help:"A file with that user's password."`
	ServiceProject      string `default:"service" env:"CULVERT_SERVICE_PROJECT" placeholder:"NAME" help:"That user's project (${default})."`
	ServiceDomain       string `default:"Default" env:"CULVERT_SERVICE_DOMAIN" placeholder:"NAME" help:"The domain of both (${default})."`
	Topology            string `default:"own" enum:"own,neutron" env:"CULVERT_TOPOLOGY" help:"own: networks and routers are kept here; neutron: they are those of a Neutron, and what is not the VPN's is passed on to it (${default})."`
	NeutronURL          string `env:"CULVERT_NEUTRON_URL" placeholder:"URL" help:"The Neutron itself, such as http://10.0.0.5:9696: the catalog may name Culvert."`
}

// cloud checks the flags against each other, and reads the password. Both answers are empty where nothing is foreign.
func (f *cloudFlags) cloud() (k keystone.Config, neutron string, err error) {
	if f.Topology == "neutron" {
		if f.Identity != "keystone" {
			return k, "", errors.New("--topology=neutron needs --identity=keystone: Neutron does not know our own tokens")
		}
		if f.NeutronURL == "" {
			return k, "", errors.New("--topology=neutron needs --neutron-url")
		}
		neutron = f.NeutronURL
	}
	if f.Topology != "neutron" && f.NeutronURL != "" {
		return k, "", errors.New("--neutron-url is for --topology=neutron")
	}
	if f.Identity != "keystone" {
		if f.KeystoneURL != "" || f.ServicePasswordFile != "" {
			return k, "", errors.New("--keystone-url and --service-password-file are for --identity=keystone")
		}
		return k, "", nil
	}
	if f.KeystoneURL == "" || f.ServicePasswordFile == "" {
		return k, "", errors.New("--identity=keystone needs --keystone-url and --service-password-file")
	}
	password, err := os.ReadFile(f.ServicePasswordFile)
	if err != nil {
		return k, "", fmt.Errorf("the service user's password: %w", err)
	}
	return keystone.Config{URL: f.KeystoneURL, User: f.ServiceUser, Password: strings.TrimSpace(string(password)), Project: f.ServiceProject,
		Domain: f.ServiceDomain}, neutron, nil
}
