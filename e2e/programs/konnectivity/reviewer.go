package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"time"

	"sigs.k8s.io/yaml"
)

const longestReview = 10 * time.Second

// A reviewer asks the API server whose a token is.
type reviewer struct {
	client            *http.Client
	url               string
	audience, account string
}

// kubeconfig is what of a kubeconfig is used here.
type kubeconfig struct {
	CurrentContext string `json:"current-context"`
	Contexts       []struct {
		Name    string
		Context struct{ Cluster, User string }
	}
	Clusters []struct {
		Name    string
		Cluster struct {
			Server        string
			CA            []byte `json:"certificate-authority-data"`
			CAFile        string `json:"certificate-authority"`
			TLSServerName string `json:"tls-server-name"`
		}
	}
	Users []struct {
		Name string
		User struct {
			Certificate     []byte `json:"client-certificate-data"`
			CertificateFile string `json:"client-certificate"`
			Key             []byte `json:"client-key-data"`
			KeyFile         string `json:"client-key"`
		}
	}
}

func newReviewer(path, audience, account string) (*reviewer, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var config kubeconfig
	if err := yaml.Unmarshal(content, &config); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	server, settings, err := config.target()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	transport := &http.Transport{TLSClientConfig: settings, ForceAttemptHTTP2: true}
	return &reviewer{
		client:   &http.Client{Transport: transport, Timeout: longestReview},
		url:      server + "/apis/authentication.k8s.io/v1/tokenreviews",
		audience: audience,
		account:  account,
	}, nil
}

func (c *kubeconfig) target() (string, *tls.Config, error) {
	var clusterName, userName string
	for _, one := range c.Contexts {
		if one.Name == c.CurrentContext {
			clusterName, userName = one.Context.Cluster, one.Context.User
		}
	}
	settings := &tls.Config{MinVersion: tls.VersionTLS12}
	var server string
	for _, one := range c.Clusters {
		if one.Name == clusterName {
			server, settings.ServerName = one.Cluster.Server, one.Cluster.TLSServerName
			authorities, err := contentOf(one.Cluster.CA, one.Cluster.CAFile)
			if err != nil {
				return "", nil, err
			}
			settings.RootCAs = x509.NewCertPool()
			if !settings.RootCAs.AppendCertsFromPEM(authorities) {
				return "", nil, errors.New("the cluster has no certificate authority")
			}
		}
	}
	for _, one := range c.Users {
		if one.Name == userName {
			certificate, err := contentOf(one.User.Certificate, one.User.CertificateFile)
			if err != nil {
				return "", nil, err
			}
			key, err := contentOf(one.User.Key, one.User.KeyFile)
			if err != nil {
				return "", nil, err
			}
			pair, err := tls.X509KeyPair(certificate, key)
			if err != nil {
				return "", nil, err
			}
			settings.Certificates = []tls.Certificate{pair}
		}
	}
	if server == "" || len(settings.Certificates) == 0 {
		return "", nil, fmt.Errorf("the context %q does not lead to a server and a client certificate", c.CurrentContext)
	}
	return server, settings, nil
}

func contentOf(inline []byte, path string) ([]byte, error) {
	if len(inline) > 0 {
		return inline, nil
	}
	return os.ReadFile(path)
}

// review returns nil when the token is the agents' and made for us.
func (r *reviewer) review(ctx context.Context, token string) error {
	question, err := json.Marshal(map[string]any{
		"apiVersion": "authentication.k8s.io/v1",
		"kind":       "TokenReview",
		"spec":       map[string]any{"token": token, "audiences": []string{r.audience}},
	})
	if err != nil {
		return err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, r.url, bytes.NewReader(question))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := r.client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(io.LimitReader(response.Body, 1<<20))
	if err != nil {
		return err
	}
	if response.StatusCode != http.StatusCreated {
		return fmt.Errorf("the API server answers %s: %s", response.Status, text)
	}
	var answer struct {
		Status struct {
			Authenticated bool
			Error         string
			Audiences     []string
			User          struct{ Username string }
		}
	}
	if err := json.Unmarshal(text, &answer); err != nil {
		return err
	}
	switch found := answer.Status; {
	case found.Error != "":
		return errors.New(found.Error)
	case !found.Authenticated:
		return errors.New("the token is not valid")
	case found.User.Username != r.account:
		return fmt.Errorf("the token is of %s and not of %s", found.User.Username, r.account)
	case !slices.Contains(found.Audiences, r.audience):
		return fmt.Errorf("the token is for %q and not for %s", found.Audiences, r.audience)
	}
	return nil
}
