//! Volumes of a pod or of a template.

use apimachinery::Quantity;
use serde_json::Value;

use super::page::{Page, list, scalar, text};

pub fn describe(volumes: &Value, indent: &str, page: &mut Page) {
    let volumes = list(volumes);
    if volumes.is_empty() {
        return page.line(0, format!("{indent}Volumes:\t<none>"));
    }
    page.line(0, format!("{indent}Volumes:"));
    let name_indent = if indent.is_empty() { "" } else { " " };
    for volume in volumes {
        page.line(1, format!("{name_indent}{}:", text(&volume["name"])));
        source(volume, page);
    }
}

/// A kind of volume whose fields are shown one by one.
struct Plain {
    field: &'static str,
    kind: &'static str,
    /// Label, field, and what stands for nothing.
    fields: &'static [(&'static str, &'static str, &'static str)],
}

const PLAIN: &[Plain] = &[
    Plain {
        field: "hostPath",
        kind: "HostPath (bare host directory volume)",
        fields: &[("Path", "path", ""), ("HostPathType", "type", "<none>")],
    },
    Plain {
        field: "secret",
        kind: "Secret (a volume populated by a Secret)",
        fields: &[("SecretName", "secretName", ""), ("Optional", "optional", "false")],
    },
    Plain {
        field: "configMap",
        kind: "ConfigMap (a volume populated by a ConfigMap)",
        fields: &[("Name", "name", ""), ("Optional", "optional", "false")],
    },
    Plain {
        field: "nfs",
        kind: "NFS (an NFS mount that lasts the lifetime of a pod)",
        fields: &[("Server", "server", ""), ("Path", "path", ""), ("ReadOnly", "readOnly", "false")],
    },
    Plain {
        field: "persistentVolumeClaim",
        kind: "PersistentVolumeClaim (a reference to a PersistentVolumeClaim in the same namespace)",
        fields: &[("ClaimName", "claimName", ""), ("ReadOnly", "readOnly", "false")],
    },
    Plain {
        field: "image",
        kind: "Image (a container image or OCI artifact)",
        fields: &[("Reference", "reference", ""), ("PullPolicy", "pullPolicy", "")],
    },
    Plain {
        field: "csi",
        kind: "CSI (a Container Storage Interface (CSI) volume source)",
        fields: &[("Driver", "driver", ""), ("FSType", "fsType", ""), ("ReadOnly", "readOnly", "false")],
    },
];

fn source(volume: &Value, page: &mut Page) {
    if let Some(plain) = PLAIN.iter().find(|plain| !volume[plain.field].is_null()) {
        page.field(2, "Type", plain.kind);
        for (label, field, nothing) in plain.fields {
            let value = &volume[plain.field][field];
            page.field(2, label, if value.is_null() { (*nothing).to_owned() } else { scalar(value) });
        }
        if plain.field == "csi" {
            attributes(&volume["csi"]["volumeAttributes"], page);
        }
    } else if !volume["emptyDir"].is_null() {
        empty_dir(&volume["emptyDir"], page);
    } else if !volume["projected"].is_null() {
        projected(&volume["projected"], page);
    } else if !volume["downwardAPI"].is_null() {
        downward(&volume["downwardAPI"], page);
    } else if !volume["ephemeral"].is_null() {
        page.field(
            2,
            "Type",
            "EphemeralVolume (an inline specification for a volume that gets created and deleted with the pod)",
        );
    } else {
        page.line(1, "<unknown>");
    }
}

fn attributes(attributes: &Value, page: &mut Page) {
    let pairs: Vec<String> =
        super::page::map(attributes).map(|(key, value)| format!("{key}={}", text(value))).collect();
    let Some((first, rest)) = pairs.split_first() else {
        return page.line(2, "VolumeAttributes:\t<none>");
    };
    page.line(2, format!("VolumeAttributes:\t{first}"));
    rest.iter().for_each(|pair| page.line(2, format!("\t{pair}")));
}

fn empty_dir(source: &Value, page: &mut Page) {
    let limit = Quantity::of(&source["sizeLimit"]);
    page.field(2, "Type", "EmptyDir (a temporary directory that shares a pod's lifetime)");
    page.field(2, "Medium", text(&source["medium"]));
    let set = !limit.is_zero() && !limit.is_negative();
    page.field(2, "SizeLimit", if set { limit.to_string() } else { "<unset>".into() });
}

fn projected(source: &Value, page: &mut Page) {
    page.field(2, "Type", "Projected (a volume that contains injected data from multiple sources)");
    for source in list(&source["sources"]) {
        for (field, label) in [("secret", "SecretName"), ("configMap", "ConfigMapName")] {
            if !source[field].is_null() {
                page.field(2, label, text(&source[field]["name"]));
                page.field(2, "Optional", (source[field]["optional"] == true).to_string());
            }
        }
        if !source["downwardAPI"].is_null() {
            page.field(2, "DownwardAPI", "true");
        }
        let token = &source["serviceAccountToken"];
        if !token.is_null() {
            page.field(2, "TokenExpirationSeconds", scalar(&token["expirationSeconds"]));
        }
    }
}

fn downward(source: &Value, page: &mut Page) {
    page.field(2, "Type", "DownwardAPI (a volume populated by information about the pod)");
    page.line(2, "Items:");
    for item in list(&source["items"]) {
        for from in [&item["fieldRef"]["fieldPath"], &item["resourceFieldRef"]["resource"]] {
            if !from.is_null() {
                page.line(3, format!("{} -> {}", text(from), text(&item["path"])));
            }
        }
    }
}
