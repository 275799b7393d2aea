// Reads manifests from stdin, and says of each workload the strictest level of the Pod Security Standards that admits its pods, by the
// code that the API server has (k8s.io/pod-security-admission), and what keeps it from the next one. Where the namespace of a workload
// enforces less than that, or more, this ends with 1. Objects of the Prometheus operator are read by its own types, strictly.
package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	monitoring "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	core "k8s.io/api/core/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	documents "k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/pod-security-admission/api"
	"k8s.io/pod-security-admission/policy"
	"sigs.k8s.io/yaml"
)

type object struct {
	meta.TypeMeta   `json:",inline"`
	meta.ObjectMeta `json:"metadata"`
	Spec            struct {
		Template *core.PodTemplateSpec `json:"template"`
	} `json:"spec"`
}

func read() (objects []object, err error) {
	reader := documents.NewYAMLReader(bufio.NewReader(os.Stdin))
	for {
		document, err := reader.Read()
		if errors.Is(err, io.EOF) {
			return objects, nil
		}
		if err != nil {
			return nil, err
		}
		var kind meta.TypeMeta
		if err := yaml.Unmarshal(document, &kind); err != nil {
			return nil, err
		}
		switch kind.Kind {
		case "PodMonitor":
			err = yaml.UnmarshalStrict(document, &monitoring.PodMonitor{})
		case "PrometheusRule":
			err = yaml.UnmarshalStrict(document, &monitoring.PrometheusRule{})
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", kind.Kind, err)
		}
		switch kind.Kind {
		case "Namespace", "DaemonSet", "Deployment":
			var one object
			if err := yaml.Unmarshal(document, &one); err != nil {
				return nil, err
			}
			objects = append(objects, one)
		}
	}
}

func run() error {
	objects, err := read()
	if err != nil {
		return err
	}
	enforced := map[string]api.Level{}
	for _, one := range objects {
		if one.Kind == "Namespace" {
			enforced[one.Name] = api.Level(one.Labels[api.EnforceLevelLabel])
		}
	}
	evaluator, err := policy.NewEvaluator(policy.DefaultChecks(), nil)
	if err != nil {
		return err
	}
	for _, one := range objects {
		pod := one.Spec.Template
		if pod == nil {
			continue
		}
		level, why := api.LevelPrivileged, ""
		for _, stricter := range []api.Level{api.LevelBaseline, api.LevelRestricted} {
			version := api.LevelVersion{Level: stricter, Version: api.LatestVersion()}
			result := policy.AggregateCheckResults(evaluator.EvaluatePod(version, &pod.ObjectMeta, &pod.Spec))
			if !result.Allowed {
				why = fmt.Sprintf(", not %s: %s", stricter, strings.ReplaceAll(result.ForbiddenDetail(), "\n", " "))
				break
			}
			level = stricter
		}
		fmt.Printf("%s %s: %s%s\n", one.Kind, one.Name, level, why)
		if enforced[one.Namespace] != level {
			return fmt.Errorf("the namespace %s enforces %q", one.Namespace, enforced[one.Namespace])
		}
	}
	return nil
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "pods:", err)
		os.Exit(1)
	}
}
