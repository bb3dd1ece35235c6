//! A plan as an Indexed Job for Kubernetes: a pod for each segment, which none is made anew for, since a share that
//! starts late is no share of this load.

use serde_json::{Value, json};

use super::{KubernetesFlags, Plan, longest_s};
use crate::base::clock::unix_now_ns;
use crate::load::Load;

/// The manifest, which kubectl takes as JSON: a list of the ConfigMap with the plan and the Job.
pub(super) fn manifest(plan: &Plan, load: &Load, flags: &KubernetesFlags) -> String {
    let list = json!({
        "apiVersion": "v1",
        "kind": "List",
        "items": [config_map(plan, flags), job(plan, load, flags)],
    });
    serde_json::to_string_pretty(&list).unwrap_or_default() + "\n"
}

fn config_map(plan: &Plan, flags: &KubernetesFlags) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": { "name": flags.name, "annotations": { "tenk/plan": plan.digest() } },
        "data": { "plan.json": serde_json::to_string(plan).unwrap_or_default() },
    })
}

fn job(plan: &Plan, load: &Load, flags: &KubernetesFlags) -> Value {
    let deadline_s = longest_s(load) + flags.start_in.as_secs() + 300;
    json!({
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": { "name": flags.name, "annotations": { "tenk/plan": plan.digest() } },
        "spec": {
            "completions": plan.segments,
            "parallelism": plan.segments,
            "completionMode": "Indexed",
            "backoffLimit": 0,
            "activeDeadlineSeconds": deadline_s,
            "podFailurePolicy": { "rules": [
                { "action": "FailJob", "onExitCodes": { "containerName": "load", "operator": "NotIn", "values": [0] } },
                { "action": "FailJob", "onPodConditions": [{ "type": "DisruptionTarget", "status": "True" }] },
            ] },
            "template": {
                "metadata": { "labels": { "app": flags.name } },
                "spec": pod(plan, flags),
            },
        },
    })
}

fn pod(plan: &Plan, flags: &KubernetesFlags) -> Value {
    let mut args = vec!["load".to_owned(), "--plan".into(), "/plan/plan.json".into()];
    if plan.start_at.is_none() {
        let start =
            std::time::UNIX_EPOCH + std::time::Duration::from_nanos(unix_now_ns()) + flags.start_in;
        let start = humantime::format_rfc3339_seconds(start).to_string();
        args.extend(["--start-at".to_owned(), start]);
    }
    args.extend(["--outcome-lines", "--quiet"].map(String::from));
    let resources =
        json!({ "cpu": flags.cpu.to_string(), "memory": format!("{}Mi", flags.memory_mib) });
    json!({
        "restartPolicy": "Never",
        "automountServiceAccountToken": false,
        "enableServiceLinks": false,
        "securityContext": {
            "runAsNonRoot": true,
            "runAsUser": 65532,
            "seccompProfile": { "type": "RuntimeDefault" },
        },
        "topologySpreadConstraints": [{
            "maxSkew": 1,
            "topologyKey": "kubernetes.io/hostname",
            "whenUnsatisfiable": "ScheduleAnyway",
            "labelSelector": { "matchLabels": { "app": flags.name } },
        }],
        "containers": [{
            "name": "load",
            "image": flags.image,
            "args": args,
            "resources": { "requests": resources, "limits": resources },
            "securityContext": {
                "allowPrivilegeEscalation": false,
                "readOnlyRootFilesystem": true,
                "capabilities": { "drop": ["ALL"] },
            },
            "volumeMounts": [{ "name": "plan", "mountPath": "/plan", "readOnly": true }],
        }],
        "volumes": [{ "name": "plan", "configMap": { "name": flags.name } }],
    })
}

#[cfg(test)]
mod tests {
    use super::super::super::plan_flags::parse_name;
    use super::super::tests::plan;
    use super::*;

    #[test]
    fn the_job_is_indexed_and_makes_no_pod_anew() {
        let plan = plan();
        let flags = KubernetesFlags {
            plan: "-".into(),
            image: "registry.example/tenk:1".into(),
            name: "tenk-load".into(),
            start_in: std::time::Duration::from_secs(180),
            cpu: 2,
            memory_mib: 512,
        };
        let load = plan.load_of(plan.first()).expect("a load");
        let list: Value = serde_json::from_str(&manifest(&plan, &load, &flags)).expect("JSON");
        let (map, job) = (&list["items"][0], &list["items"][1]["spec"]);
        let held = map["data"]["plan.json"].as_str().expect("a plan");
        assert_eq!(Plan::parse(held.as_bytes()), Ok(plan));
        assert_eq!(
            (&job["completionMode"], &job["completions"]),
            (&json!("Indexed"), &json!(4))
        );
        assert_eq!(job["backoffLimit"], 0);
        let pod = &job["template"]["spec"];
        assert_eq!(pod["automountServiceAccountToken"], false);
        assert_eq!(
            pod["securityContext"]["seccompProfile"]["type"],
            "RuntimeDefault"
        );
        assert_eq!(
            pod["containers"][0]["resources"]["limits"]["memory"],
            "512Mi"
        );
        assert_eq!(pod["containers"][0]["args"][3], "--start-at");
        for bad in ["", "A", "-a", "a-", "a_b", &"a".repeat(41)] {
            assert!(parse_name(bad).is_err(), "{bad}");
        }
    }
}
