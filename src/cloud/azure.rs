//! The metadata of Azure (pure): one JSON text (`learn.microsoft.com/azure/virtual-machines/instance-metadata-service`).

use super::instance::{address, value};
use super::plan::{LINK_LOCAL, Plan, Question, json, put};

/// The one question.
pub const PLAN: Plan = Plan {
    endpoint: LINK_LOCAL,
    token: None,
    header: Some(("metadata", "True")),
    questions: &[Question {
        path: "/metadata/instance?format=json&api-version=2021-05-01",
        read: |text, to| {
            let Ok(answer) = serde_json::from_str::<serde_json::Value>(text) else { return false };
            let text = |pointer| json(&answer, pointer).and_then(|text| value(&text));
            let ip = |name| {
                let pointer = format!("/network/interface/0/ipv4/ipAddress/0/{name}");
                json(&answer, &pointer).and_then(|text| address(&text))
            };
            put(&mut to.account_id, text("/compute/subscriptionId"));
            put(&mut to.kind, text("/compute/vmSize"));
            put(&mut to.region, text("/compute/location"));
            put(&mut to.availability_zone, text("/compute/zone"));
            put(&mut to.image_id, text("/compute/storageProfile/imageReference/id"));
            put(&mut to.local_ipv4, ip("privateIpAddress"));
            put(&mut to.public_ipv4, ip("publicIpAddress"));
            put(&mut to.id, text("/compute/vmId"))
        },
    }],
};
