//! What the charts render and what they refuse, without a cluster.

use clap::Parser;
use kamaji_operator::{Cli, Command};
use serde_json::{Value, json};

use super::{NAMESPACE, chart, helm, object, outcome, render, strings, template};

#[test]
fn the_charts_pass_the_linter() {
    for name in ["kamaji", "kamaji-crds"] {
        let answer = outcome(&helm(&["lint", "--strict", &chart(name).display().to_string()]));
        assert!(answer.is_ok(), "{name}: {}", answer.unwrap_err());
    }
}

#[test]
fn bad_values_are_refused_with_their_place() {
    for (setting, words) in [
        ("replicaCount=many", "'/replicaCount': got string, want integer"),
        ("replicaCount=-1", "'/replicaCount'"),
        ("image.pullPolicy=Sometimes", "'/image/pullPolicy': value must be one of"),
        ("metricsBindAddress=nowhere", "'/metricsBindAddress'"),
        ("replicas=2", "additional properties 'replicas' not allowed"),
        ("extraArgs=--one", "'/extraArgs': got string, want array"),
        ("podDisruptionBudget.maxUnavailable=half", "'/podDisruptionBudget/maxUnavailable'"),
        ("kamaji-etcd.replicas=2", "'/kamaji-etcd/replicas': value must be one of 1, 3, 5"),
        (
            "kamaji-etcd.persistence.enabled=perhaps",
            "'/kamaji-etcd/persistence/enabled': value must be one of",
        ),
        ("kamaji-etcd.persistence.size=big", "'/kamaji-etcd/persistence/size'"),
        (
            "kamaji-etcd.persistentVolumeClaim.size=1Gi",
            "additional properties 'persistentVolumeClaim' not allowed",
        ),
        ("kamaji-etcd.fullnameOverride=Upper", "'/kamaji-etcd/fullnameOverride'"),
        ("kamaji-etcd.quotaBackendBytes=1", "'/kamaji-etcd/quotaBackendBytes'"),
        ("kubeconfigGenerator.enabled=true", "this version has no kubeconfig generator"),
        ("webhook.failurePolicy=Sometimes", "'/webhook/failurePolicy': value must be one of"),
        ("webhook.port=1", "additional properties 'port' not allowed"),
    ] {
        let complaint = template("kamaji", &[setting]).expect_err(setting);
        assert!(complaint.contains(words), "{setting}: {complaint}");
    }
    let complaint = template("kamaji-crds", &["install=true"]).unwrap_err();
    assert!(complaint.contains("additional properties 'install' not allowed"), "{complaint}");
}

#[test]
fn values_of_the_go_chart_are_understood() {
    let objects = render(&[
        "telemetry.disabled=true",
        "temporaryDirectoryPath=/tmp/kamaji",
        "kubeconfigGenerator.replicaCount=2",
        "kamaji-etcd.certManager.enabled=true",
        "kamaji-etcd.certManager.issuerRef.name=x",
        "loggingDevel.enable=true",
        "serviceMonitor.enabled=true",
    ]);
    object(&objects, "ServiceMonitor", "kamaji");
}

#[test]
fn names_are_those_of_the_go_chart() {
    let objects = render(&[]);
    for (kind, name) in [
        ("Deployment", "kamaji"),
        ("ServiceAccount", "kamaji-controller-manager"),
        ("ClusterRole", "kamaji-manager-role"),
        ("ClusterRoleBinding", "kamaji-manager-rolebinding"),
        ("Role", "kamaji-leader-election-role"),
        ("RoleBinding", "kamaji-leader-election-rolebinding"),
        ("StatefulSet", "kamaji-etcd"),
        ("Secret", "kamaji-etcd-certs"),
        ("Secret", "kamaji-etcd-root-client-certs"),
        ("Service", "kamaji-metrics-service"),
        ("Service", "kamaji-webhook-service"),
        ("MutatingWebhookConfiguration", "kamaji-mutating-webhook-configuration"),
        ("ValidatingWebhookConfiguration", "kamaji-validating-webhook-configuration"),
        ("ValidatingAdmissionPolicyBinding", "kamaji-kubeconfig-generators"),
        ("DataStore", "default"),
    ] {
        assert_eq!(object(&objects, kind, name)["metadata"]["name"], name, "{kind}");
    }
    let selector = json!({
        "app.kubernetes.io/component": "controller-manager",
        "app.kubernetes.io/instance": "kamaji",
        "app.kubernetes.io/name": "kamaji",
    });
    assert_eq!(object(&objects, "Deployment", "kamaji")["spec"]["selector"]["matchLabels"], selector);
}

/// Reads the arguments of a rendered container as the operator would.
fn command_line(container: &Value) -> Command {
    let mut words = vec!["kamaji".to_owned()];
    words.extend(strings(&container["args"]));
    if words.contains(&"manager".to_owned()) {
        // Comes from the environment in the Pod.
        words.push("--pod-namespace=kamaji-system".into());
    }
    Cli::try_parse_from(words).unwrap_or_else(|problem| panic!("{problem}")).command
}

#[test]
fn the_operator_understands_its_arguments() {
    for settings in
        [vec![], vec!["loggingDevel.enable=true", "extraArgs={--max-concurrent-tcp-reconciles=4}"]]
    {
        let objects = render(&settings);
        let deployment = object(&objects, "Deployment", "kamaji");
        let container = &deployment["spec"]["template"]["spec"]["containers"][0];
        let Command::Manager(args) = command_line(container) else { panic!("not the manager") };
        assert_eq!(args.datastore, "default");
        assert!(args.leader_elect);
        let ports: Vec<u64> = container["ports"]
            .as_array()
            .unwrap()
            .iter()
            .map(|port| port["containerPort"].as_u64().unwrap())
            .collect();
        let bound = [args.metrics_bind_address, args.health_probe_bind_address, args.webhook_bind_address];
        assert_eq!(bound.map(|address| u64::from(address.0.unwrap().port())).as_slice(), ports);
    }
}

#[test]
fn no_default_data_store_means_no_flag() {
    let objects = render(&["defaultDatastoreName="]);
    let deployment = object(&objects, "Deployment", "kamaji");
    let Command::Manager(args) = command_line(&deployment["spec"]["template"]["spec"]["containers"][0])
    else {
        panic!("not the manager")
    };
    assert_eq!(args.datastore, "");
}

#[test]
fn every_member_of_etcd_is_told_of_every_other() {
    let objects = render(&["kamaji-etcd.replicas=3"]);
    let member = |number: usize| format!("kamaji-etcd-{number}.kamaji-etcd.kamaji-system.svc.cluster.local");
    let endpoints: Vec<String> = (0..3).map(|number| format!("{}:2379", member(number))).collect();
    assert_eq!(strings(&object(&objects, "DataStore", "default")["spec"]["endpoints"]), endpoints);
    let job = object(&objects, "Job", "kamaji-etcd-init-");
    let Command::EtcdInit(args) = command_line(&job["spec"]["template"]["spec"]["containers"][0]) else {
        panic!("not etcd-init")
    };
    assert_eq!(args.endpoints, endpoints);
    let etcd = object(&objects, "StatefulSet", "kamaji-etcd");
    let cluster: Vec<String> =
        (0..3).map(|number| format!("kamaji-etcd-{number}=https://{}:2380", member(number))).collect();
    let arguments = strings(&etcd["spec"]["template"]["spec"]["containers"][0]["args"]);
    assert!(arguments.contains(&format!("--initial-cluster={}", cluster.join(","))), "{arguments:?}");
    assert_eq!(object(&objects, "PodDisruptionBudget", "kamaji-etcd")["spec"]["maxUnavailable"], 1);
}

#[test]
fn etcd_can_be_left_out() {
    let objects = render(&["kamaji-etcd.deploy=false"]);
    for kind in ["StatefulSet", "Job", "Secret", "DataStore"] {
        assert!(objects.iter().all(|object| object["kind"] != kind), "{kind} is rendered");
    }
}

#[test]
fn the_data_is_kept_in_a_claim_unless_told_otherwise() {
    let kept = render(&["kamaji-etcd.persistence.size=3Gi", "kamaji-etcd.persistence.storageClassName=fast"]);
    let claim = &object(&kept, "StatefulSet", "kamaji-etcd")["spec"]["volumeClaimTemplates"][0];
    assert_eq!(claim["spec"]["storageClassName"], "fast");
    assert_eq!(claim["spec"]["resources"]["requests"]["storage"], "3Gi");
    let trial = render(&["kamaji-etcd.persistence.enabled=false"]);
    let spec = &object(&trial, "StatefulSet", "kamaji-etcd")["spec"];
    assert!(spec.get("volumeClaimTemplates").is_none());
    assert_eq!(spec["template"]["spec"]["volumes"][1], json!({ "name": "data", "emptyDir": {} }));
}

#[test]
fn the_authoritys_key_reaches_no_pod() {
    for workload in render(&[]).iter().filter(|object| object["spec"]["template"]["spec"].is_object()) {
        assert!(!workload["spec"]["template"].to_string().contains("ca.key"), "{}", workload["kind"]);
    }
}

#[test]
fn another_image_is_another_job() {
    let name = |settings: &[&str]| {
        object(&render(settings), "Job", "kamaji-etcd-init-")["metadata"]["name"].as_str().unwrap().to_owned()
    };
    assert_eq!(name(&[]), name(&[]));
    assert_ne!(name(&[]), name(&["image.tag=other"]));
}

#[test]
fn the_api_server_asks_the_service_and_not_about_the_operator() {
    for (kind, count) in [("Mutating", 1), ("Validating", 2)] {
        let objects = render(&["fullnameOverride=other", "webhook.failurePolicy=Fail"]);
        let configuration = object(&objects, &format!("{kind}WebhookConfiguration"), "kamaji-");
        let hooks = configuration["webhooks"].as_array().unwrap();
        assert_eq!(hooks.len(), count);
        for hook in hooks {
            let service = &hook["clientConfig"]["service"];
            assert_eq!([&service["name"], &service["namespace"]], ["other-webhook-service", NAMESPACE]);
            assert_eq!(hook["failurePolicy"], "Fail");
            let operator = "request.userInfo.username != 'system:serviceaccount:kamaji-system:kamaji-controller-manager'";
            assert_eq!(hook["matchConditions"][0]["expression"], operator);
        }
    }
}

#[test]
fn webhooks_are_turned_off_as_a_whole() {
    let objects = render(&["webhook.enabled=false"]);
    assert!(objects.iter().all(|object| !object["kind"].as_str().unwrap().contains("Webhook")));
    let container = &object(&objects, "Deployment", "kamaji")["spec"]["template"]["spec"]["containers"][0];
    let Command::Manager(arguments) = command_line(container) else { panic!("it runs the manager") };
    assert_eq!(arguments.webhook_bind_address.0, None);
    // What is a matter of safety stays.
    object(&objects, "ValidatingAdmissionPolicy", "kamaji-kubeconfig-generators");
}

#[test]
fn cert_manager_may_make_the_certificate() {
    let objects = render(&["webhook.certManager.enabled=true"]);
    let certificate = object(&objects, "Certificate", "kamaji-serving-cert");
    let secret = &certificate["spec"]["secretName"];
    assert_eq!(certificate["spec"]["issuerRef"]["name"], "kamaji-selfsigned-issuer");
    let pod = &object(&objects, "Deployment", "kamaji")["spec"]["template"]["spec"];
    assert_eq!(&pod["volumes"][0]["secret"]["secretName"], secret);
    let Command::Manager(arguments) = command_line(&pod["containers"][0]) else {
        panic!("it runs the manager")
    };
    let folder = &pod["containers"][0]["volumeMounts"][0]["mountPath"];
    assert_eq!(arguments.webhook_ca_path.parent().unwrap().to_str(), folder.as_str());
    for kind in ["MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"] {
        let annotations = &object(&objects, kind, "kamaji-")["metadata"]["annotations"];
        assert_eq!(annotations["cert-manager.io/inject-ca-from"], "kamaji-system/kamaji-serving-cert");
    }
    let own = render(&["webhook.certManager.enabled=true", "webhook.certManager.issuerRef.name=corporate"]);
    assert!(own.iter().all(|object| object["kind"] != "Issuer"));
}
