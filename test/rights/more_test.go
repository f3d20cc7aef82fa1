package rights

import (
	"bytes"
	"fmt"
	"strings"

	"culvert/internal/client"
)

// quotas are the rows about the limits of projects.
func (w *world) quotas(b *bytes.Buffer) int {
	cells := 0
	fmt.Fprintf(b, "\n== quotas ==\n")
	limit := client.Object{"quota": client.Object{"ikepolicy": 7}}
	for _, op := range []struct {
		name, method, path string
		body               any
	}{
		{"list", "GET", "/v2.0/quotas", nil},
		{"show", "GET", "/v2.0/quotas/$project", nil},
		{"show the defaults", "GET", "/v2.0/quotas/$project/default", nil},
		{"show details", "GET", "/v2.0/quotas/$project/details", nil},
		{"whose quota is mine", "GET", "/v2.0/quotas/project", nil},
		{"set", "PUT", "/v2.0/quotas/$project", limit},
		{"delete", "DELETE", "/v2.0/quotas/$project", nil},
	} {
		for _, project := range []string{"home", "away"} {
			fmt.Fprintf(b, "\n%s (%s), of %s\n", op.name, op.method, project)
			path := "/v2.0/quotas/" + w.projects[project]
			cells += w.group(b, func(c caller) string {
				if op.method == "DELETE" { // there must be one, every time
					w.must(w.admin(), "PUT", path, "", limit)
				}
				a := w.do(c, op.method, strings.ReplaceAll(op.path, "$project", w.projects[project]), op.body)
				if op.method != "GET" {
					w.do(w.admin(), "DELETE", path, nil)
				}
				return w.readable(w.quotaLine(a))
			})
		}
	}
	return cells
}

func (w *world) quotaLine(a answer) string {
	if typ, message := a.fault(); typ != "" {
		return fmt.Sprintf("%d %s: %s", a.status, typ, message)
	}
	if q, ok := a.doc["quota"].(client.Object); ok {
		return fmt.Sprintf("%d ikepolicy %v", a.status, q["ikepolicy"])
	}
	return fmt.Sprintf("%d %s", a.status, a.body)
}

// agents are the rows about the gateways' side: no user's token opens it.
func (w *world) agents(b *bytes.Buffer) int {
	cells := 0
	fmt.Fprintf(b, "\n== agent/v1 ==\n")
	for _, op := range [][2]string{{"GET", "/agent/v1/watch"}, {"POST", "/agent/v1/reports"}, {"POST", "/agent/v1/counters"}} {
		fmt.Fprintf(b, "\n%s %s\n", op[0], op[1])
		cells += w.group(b, func(c caller) string { return w.readable(w.quotaLine(w.do(c, op[0], op[1], "[]"))) })
	}
	return cells
}

// noSecrets holds everything that anybody received against everything that they must not.
func (w *world) noSecrets() {
	passwords := []string{w.srv.FirstAdmin.Password, w.srv.AgentToken, "correct horse of"}
	for _, c := range w.callers {
		if c.token != "" {
			passwords = append(passwords, c.token)
		}
	}
	for name, b := range w.received {
		text, secrets := b.String(), passwords
		switch name {
		case "admin":
		case "member":
			secrets = append(secrets[:len(secrets):len(secrets)], awayKey)
		case "stranger":
			secrets = append(secrets[:len(secrets):len(secrets)], homeKey)
		default:
			secrets = append(secrets[:len(secrets):len(secrets)], homeKey, awayKey)
		}
		for _, s := range secrets {
			if shows(text, s) {
				w.Errorf("%s received a secret that begins with %.3s", name, s)
			}
		}
	}
	for _, s := range append(passwords, homeKey, awayKey) {
		if shows(w.srv.Log(), s) {
			w.Errorf("the log has a secret that begins with %.3s", s)
		}
	}
}
