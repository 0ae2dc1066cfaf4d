//! Plans as one line each.

use expect_test::{Expect, expect};
use serde_json::{Value, json};

use super::*;

fn volume(name: &str, size: &str, more: Value) -> PersistentVolume {
    let mut object = json!({"metadata": {"name": name, "annotations": {}}, "status": {"phase": "Available"},
        "spec": {"capacity": {"storage": size}, "accessModes": ["ReadWriteOnce"], "storageClassName": "s"}});
    apply(&mut object, more);
    serde_json::from_value(object).unwrap()
}

fn claim(more: Value) -> PersistentVolumeClaim {
    let mut object = json!({"metadata": {"name": "c", "namespace": "ns", "uid": "u", "annotations": {}},
        "status": {"phase": "Pending"}, "spec": {"accessModes": ["ReadWriteOnce"], "storageClassName": "s",
        "resources": {"requests": {"storage": "1Gi"}}}});
    apply(&mut object, more);
    serde_json::from_value(object).unwrap()
}

fn apply(object: &mut Value, more: Value) {
    for (pointer, value) in more.as_object().unwrap() {
        let (at, field) = pointer.rsplit_once('.').unwrap();
        let parent = object.pointer_mut(&format!("/{}", at.replace('.', "/"))).unwrap();
        parent[field.replace('~', ".")] = value.clone();
    }
}

fn show(plan: &Plan) -> String {
    let notes = |metadata: &ObjectMeta| {
        let names = metadata.annotations.iter().flatten().map(|(name, _)| name.rsplit('/').next().unwrap_or_default());
        names.collect::<Vec<_>>().join(",")
    };
    let step = match &plan.step {
        None => "nothing".to_owned(),
        Some(Step::Volume(volume)) => {
            let claim = volume.spec.as_ref().and_then(|spec| spec.claim_ref.as_ref());
            let claim =
                claim.map(|claim| format!("{}/{}", claim.name.clone().unwrap(), claim.uid.clone().unwrap_or_default()));
            format!("volume {} claim={} [{}]", volume.name(), claim.unwrap_or_default(), notes(&volume.metadata))
        }
        Some(Step::VolumeStatus(volume)) => {
            let status = volume.status.clone().unwrap();
            format!("volume {} is {}", volume.name(), status.phase.unwrap())
        }
        Some(Step::Claim(claim)) => {
            let volume = claim.spec.as_ref().and_then(|spec| spec.volume_name.clone());
            format!("claim volume={} [{}]", volume.unwrap_or_default(), notes(&claim.metadata))
        }
        Some(Step::ClaimStatus(claim)) => {
            let status = claim.status.clone().unwrap();
            let capacity = status.capacity.and_then(|capacity| capacity.get("storage").map(|size| size.0.clone()));
            format!("claim is {} {}", status.phase.unwrap(), capacity.unwrap_or_default())
        }
    };
    let note = plan.note.as_ref().map(|note| format!("; {:?} {}: {}", note.kind, note.reason, note.message));
    format!("{}{}", step.trim_end(), note.unwrap_or_default())
}

fn check_claim(claim: &PersistentVolumeClaim, volumes: Vec<PersistentVolume>, class: Option<Value>, want: Expect) {
    let volumes: Vec<_> = volumes.into_iter().map(Arc::new).collect();
    let class: Option<StorageClass> = class.map(|class| serde_json::from_value(class).unwrap());
    let around = AroundClaim { volumes: &volumes, class: class.as_ref(), pods: &[] };
    want.assert_eq(&show(&plan_claim(claim, &around)));
}

#[test]
fn a_binding_is_made_in_four_steps() {
    let (mut claim, mut volume) = (claim(json!({})), volume("v", "2Gi", json!({})));
    let mut told = Vec::new();
    loop {
        let volumes = [Arc::new(volume.clone())];
        let plan = plan_claim(&claim, &AroundClaim { volumes: &volumes, class: None, pods: &[] });
        told.push(show(&plan));
        match plan.step {
            None => break,
            Some(Step::Volume(changed) | Step::VolumeStatus(changed)) => volume = *changed,
            Some(Step::Claim(changed) | Step::ClaimStatus(changed)) => claim = *changed,
        }
    }
    expect![[r#"
        volume v claim=c/u [bound-by-controller]
        volume v is Bound
        claim volume=v [bind-completed,bound-by-controller]
        claim is Bound 2Gi
        nothing"#]]
    .assert_eq(&told.join("\n"));
    assert_eq!(show(&plan_volume(&volume, Some(&claim))), "nothing");
}

#[test]
fn the_smallest_that_suits_is_taken_and_a_reserved_one_before_all() {
    let sizes = || ["3Gi", "2Gi", "512Mi"].map(|size| volume(size, size, json!({}))).to_vec();
    check_claim(&claim(json!({})), sizes(), None, expect!["volume 2Gi claim=c/u [bound-by-controller]"]);
    let reserved = volume("mine", "5Gi", json!({"spec.claimRef": {"name": "c", "namespace": "ns"}}));
    let all = [sizes(), vec![reserved]].concat();
    check_claim(&claim(json!({})), all, None, expect!["volume mine claim=c/u []"]);
    let other = volume("v", "2Gi", json!({"spec.storageClassName": "other"}));
    let block = volume("b", "2Gi", json!({"spec.volumeMode": "Block"}));
    let many = claim(json!({"spec.accessModes": ["ReadWriteMany"]}));
    let missing = || expect![[r#"nothing; Warning ProvisioningFailed: storageclass.storage.k8s.io "s" not found"#]];
    check_claim(&claim(json!({})), vec![other, block], None, missing());
    check_claim(&many, sizes(), None, missing());
}

#[test]
fn a_claim_without_a_volume_says_what_it_waits_for() {
    let class =
        |mode: &str, by: &str| Some(json!({"metadata": {"name": "s"}, "provisioner": by, "volumeBindingMode": mode}));
    check_claim(
        &claim(json!({"spec.storageClassName": ""})),
        Vec::new(),
        None,
        expect![
            "nothing; Normal FailedBinding: no persistent volumes available for this claim and no storage class is set"
        ],
    );
    check_claim(
        &claim(json!({})),
        vec![volume("v", "2Gi", json!({}))],
        class("WaitForFirstConsumer", "example.com/p"),
        expect!["nothing; Normal WaitForFirstConsumer: waiting for first consumer to be created before binding"],
    );
    check_claim(
        &claim(json!({"metadata.annotations": {"volume.kubernetes.io/selected-node": "n"}})),
        Vec::new(),
        class("WaitForFirstConsumer", "example.com/p"),
        expect!["claim volume= [storage-provisioner,selected-node,storage-provisioner]"],
    );
    check_claim(
        &claim(json!({})),
        Vec::new(),
        class("Immediate", "kubernetes.io/no-provisioner"),
        expect!["nothing; Warning ProvisioningFailed: no volume plugin matched name: kubernetes.io/no-provisioner"],
    );
}

#[test]
fn a_volume_that_is_asked_for_must_suit_and_be_free() {
    let wants = claim(json!({"spec.volumeName": "v"}));
    check_claim(&wants, Vec::new(), None, expect!["nothing"]);
    check_claim(
        &wants,
        vec![volume("v", "512Mi", json!({}))],
        None,
        expect![[r#"nothing; Warning VolumeMismatch: Cannot bind to requested volume "v": requested PV is too small"#]],
    );
    let taken = volume("v", "2Gi", json!({"spec.claimRef": {"name": "d", "namespace": "ns", "uid": "x"}}));
    check_claim(
        &wants,
        vec![taken.clone()],
        None,
        expect![[r#"nothing; Warning FailedBinding: volume "v" already bound to a different claim."#]],
    );
    let bound =
        claim(json!({"spec.volumeName": "v", "metadata.annotations": {"pv.kubernetes.io/bind-completed": "yes"}}));
    check_claim(
        &bound,
        vec![taken],
        None,
        expect![
            "claim is Lost; Warning ClaimMisbound: Two claims are bound to the same volume, this one is bound incorrectly"
        ],
    );
    check_claim(
        &bound,
        Vec::new(),
        None,
        expect![
            "claim is Lost; Warning ClaimLost: Bound claim has lost its PersistentVolume. Data on the volume is lost!"
        ],
    );
}

#[test]
fn a_volume_goes_the_way_of_its_policy_when_its_claim_is_gone() {
    let refers = json!({"name": "c", "namespace": "ns", "uid": "u"});
    let left = |phase: &str, policy: &str| {
        let more = json!({"spec.claimRef": refers, "spec.persistentVolumeReclaimPolicy": policy,
            "spec.hostPath": {"path": "/x"}, "status.phase": phase});
        show(&plan_volume(&volume("v", "1Gi", more), None))
    };
    assert_eq!(left("Bound", "Delete"), "volume v is Released");
    assert_eq!(left("Released", "Retain"), "nothing");
    assert_eq!(
        left("Released", "Delete"),
        "volume v is Failed; Warning VolumeFailedDelete: host_path deleter only supports /tmp/.+ but received provided /x"
    );
    let reserved =
        volume("v", "1Gi", json!({"spec.claimRef": {"name": "c", "namespace": "ns"}, "status.phase": "Pending"}));
    assert_eq!(show(&plan_volume(&reserved, None)), "volume v is Available");
    let elsewhere = claim(json!({"spec.volumeName": "other"}));
    let ours = volume(
        "v",
        "1Gi",
        json!({"spec.claimRef": refers,
        "metadata.annotations": {"pv.kubernetes.io/bound-by-controller": "yes"}}),
    );
    assert_eq!(show(&plan_volume(&ours, Some(&elsewhere))), "volume v claim= []");
}
