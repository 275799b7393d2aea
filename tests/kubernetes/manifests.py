"""Checks rendered manifests: against the schemas of three Kubernetes versions, strictly, and what they mean together.

    manifests.py NAME=FILE...

`kustomize-X` and `helm-X`, where both are there, must be the same objects, whatever labels Helm adds: but for the namespace and the
rules, which the chart does not have. `helm-options` is what tests/kubernetes/values.yaml says. Needs `helm-base`, `helm-containers`, `helm-logs` and `helm-drops-beside` too.
"""

import copy
import sys

import kubernetes_validate
import yaml

VERSIONS = ("1.33", "1.35", "1.37")
# Of others than Kubernetes; pods.go reads them.
FOREIGN = "monitoring.coreos.com"


def fail(text):
    sys.exit(f"manifests: {text}")


def key(thing):
    return thing["kind"], thing["metadata"].get("namespace", ""), thing["metadata"]["name"]


def references(name, objects):
    """What workloads ask for by name is there: configuration, account, priority."""
    there = {key(thing) for thing in objects}
    for thing in objects:
        template = thing.get("spec", {}).get("template")
        if not isinstance(template, dict):
            continue
        pod, namespace = template["spec"], thing["metadata"]["namespace"]
        wanted = [("ConfigMap", namespace, volume["configMap"]["name"]) for volume in pod["volumes"] if "configMap" in volume]
        if "serviceAccountName" in pod:
            wanted.append(("ServiceAccount", namespace, pod["serviceAccountName"]))
        # Those of the cluster are there before anything else.
        if not pod.get("priorityClassName", "system-").startswith("system-"):
            wanted.append(("PriorityClass", "", pod["priorityClassName"]))
        for one in wanted:
            if one not in there:
                fail(f"{name}: {key(thing)} asks for {one}, which is not there")
        mounted = {mount["name"] for container in pod["containers"] for mount in container["volumeMounts"]}
        if mounted != {volume["name"] for volume in pod["volumes"]}:
            fail(f"{name}: {key(thing)} mounts {sorted(mounted)}, and has other volumes")
        if pod.get("automountServiceAccountToken") is not False:
            fail(f"{name}: {key(thing)} gets a token")
        for container in pod["containers"]:
            security = container["securityContext"]
            if security["capabilities"]["drop"] != ["ALL"] or not security["readOnlyRootFilesystem"]:
                fail(f"{name}: {key(thing)}: capabilities that are not dropped, or a root file system that is written to")
            user = container.get("securityContext", {}).get("runAsUser", pod["securityContext"]["runAsUser"])
            gained = set(security["capabilities"].get("add", []))
            # Capabilities of a user who is not root come from the file, which has NET_ADMIN alone, and no_new_privs makes that void.
            if user != 0 and gained and (gained != {"NET_ADMIN"} or not security["allowPrivilegeEscalation"]):
                fail(f"{name}: {key(thing)}: {sorted(gained)} are not what user {user} gets")
            if user == 0 and security["allowPrivilegeEscalation"]:
                fail(f"{name}: {key(thing)}: root may gain more than it has")


def plain(objects):
    """Without what differs between the two ways."""
    stripped = {}
    for thing in copy.deepcopy(objects):
        if thing["kind"] in ("Namespace", "PrometheusRule"):
            continue
        for place in (thing, thing.get("spec", {}).get("template", {})):
            if isinstance(place, dict) and "metadata" in place:
                for part in ("labels", "annotations"):
                    place["metadata"].pop(part, None)
        stripped[key(thing)] = thing
    return stripped


def hashless(rendered):
    """Kustomize puts a hash behind the names of configurations."""
    for thing in rendered:
        if thing["kind"] == "ConfigMap":
            before = thing["metadata"]["name"]
            after = before.rpartition("-")[0]
            text = yaml.safe_dump_all(rendered).replace(before, after)
            return list(yaml.safe_load_all(text))
    return rendered


def options(objects):
    """What a user may set in the values of the chart gets to where it belongs."""
    there = {key(thing)[::2]: thing for thing in objects}
    if {"PriorityClass", "PodMonitor"} & {kind for kind, _ in there}:
        fail("helm-options: a priority class or a PodMonitor, which its values switch off")
    text = there["ConfigMap", "connscope"]["data"]["connscope.yaml"]
    if yaml.safe_load(text) != {"sources": {"conntrack": {"via": "netlink"}, "sockets": {"filter": "not src 127.0.0.0/8"}}}:
        fail(f"helm-options: the configuration is {text}")
    pod = there["DaemonSet", "connscope"]["spec"]["template"]["spec"]
    container = pod["containers"][0]
    environment = {one["name"]: one.get("value") for one in container["env"]}
    found = {
        "image": container["image"],
        "pull policy": container["imagePullPolicy"],
        "resources": container["resources"],
        "endpoint": environment.get("OTEL_EXPORTER_OTLP_ENDPOINT"),
        "priority": pod["priorityClassName"],
        "tolerations": pod["tolerations"],
        "nodes": pod["nodeSelector"],
        "engine": [volume["hostPath"] for volume in pod["volumes"] if volume["name"] == "engine"],
        "its mount": [mount["mountPath"] for mount in container["volumeMounts"] if mount["name"] == "engine"],
    }
    wanted = {
        "image": "registry.example.com/connscope:1.2.3",
        "pull policy": "Always",
        "resources": {"requests": {"cpu": "50m", "memory": "128Mi"}, "limits": {"memory": "256Mi"}},
        "endpoint": "http://gateway.example:4317",
        "priority": "system-node-critical",
        "tolerations": [{"key": "node-role.kubernetes.io/control-plane", "effect": "NoSchedule"}],
        "nodes": {"kubernetes.io/os": "linux", "pool": "edge"},
        "engine": [{"path": "/run/k3s/containerd"}],
        "its mount": ["/host/run/k3s/containerd"],
    }
    if found != wanted:
        fail(f"helm-options: {found}, not {wanted}")


def main():
    rendered = {}
    for argument in sys.argv[1:]:
        name, file = argument.split("=", 1)
        with open(file, encoding="utf-8") as text:
            objects = [thing for thing in yaml.safe_load_all(text) if thing]
        if not objects:
            fail(f"{name}: nothing was rendered")
        for thing in objects:
            if thing["apiVersion"].startswith(FOREIGN):
                continue
            for version in VERSIONS:
                try:
                    kubernetes_validate.validate(thing, version, strict=True)
                except kubernetes_validate.ValidationError as error:
                    fail(f"{name}: {key(thing)}, Kubernetes {version}: {'.'.join(map(str, error.path))}: {error.message}")
        references(name, objects)
        rendered[name] = objects
        print(f"{name}: {len(objects)} objects, valid for Kubernetes {', '.join(VERSIONS)}")
    # What each part of the agent takes adds up.
    for name, limit in ("helm-base", "64Mi"), ("helm-containers", "128Mi"), ("helm-logs", "160Mi"), ("helm-drops-beside", "224Mi"):
        for pod in (one["spec"]["template"]["spec"] for one in rendered[name] if one["kind"] == "DaemonSet"):
            found = pod["containers"][0]["resources"]["limits"]["memory"]
            if found != limit:
                fail(f"{name}: a limit of {found}, not {limit}")
    if "helm-options" in rendered:
        options(rendered["helm-options"])
    for name, objects in rendered.items():
        twin = rendered.get(name.replace("helm-", "kustomize-", 1))
        if not name.startswith("helm-") or twin is None:
            continue
        ours, theirs = plain(objects), plain(hashless(twin))
        for one in sorted(ours.keys() | theirs.keys()):
            if ours.get(one) != theirs.get(one):
                fail(f"{one} differs:\n--- {name}\n{yaml.safe_dump(ours.get(one))}\n--- kustomize\n{yaml.safe_dump(theirs.get(one))}")
        print(f"{name}: the same objects as by kustomize")


main()
