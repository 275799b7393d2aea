//! Each metadata service asked as it is documented, and services that answer badly.

use super::fake::{AWS, AWS_GUARD, AZURE, AZURE_GUARD, Answer, Fake, GCP, GCP_GUARD, Guard, Mood};
use connscope::cloud::client::{self, Endpoint, Failure};
use connscope::cloud::dmi;
use connscope::cloud::instance::{Instance, value};
use connscope::cloud::plan;
use connscope::cloud::provider::Provider;
use std::path::Path;
use std::time::{Duration, Instant};

const WITHIN: Duration = Duration::from_secs(3);

/// What a service says of the machine, and the failure if there was one.
fn ask(provider: Provider, fake: &Fake) -> (Instance, Result<(), Failure>) {
    let mut found = Instance::default();
    let asked = client::ask(&plan(provider), Some(&fake.url()), WITHIN, &mut found);
    (found, asked)
}

#[expect(clippy::unnecessary_wraps, reason = "the fields are options")]
fn text(text: &str) -> Option<String> {
    Some(text.to_owned())
}

fn aws() -> Instance {
    Instance {
        account_id: text("123456789012"),
        region: text("eu-central-1"),
        availability_zone: text("eu-central-1b"),
        availability_zone_id: text("euc1-az3"),
        id: text("i-1234567890abcdef0"),
        kind: text("m7g.large"),
        life_cycle: text("spot"),
        image_id: text("ami-0abcdef1234567890"),
        local_ipv4: text("10.0.0.7"),
        public_ipv4: text("192.0.2.7"),
        ..Instance::default()
    }
}

/// The services with everything that they document, and what is known then.
fn clouds() -> Vec<(Provider, &'static [Answer], Option<Guard>, Instance)> {
    let gcp = Instance {
        account_id: text("shop-prod"),
        region: text("europe-west1"),
        availability_zone: text("europe-west1-b"),
        id: text("4520031799277581759"),
        kind: text("e2-small"),
        life_cycle: text("on-demand"),
        image_id: text("projects/debian-cloud/global/images/debian-12-bookworm-v20261110"),
        local_ipv4: text("10.132.0.2"),
        public_ipv4: text("192.0.2.8"),
        ..Instance::default()
    };
    let azure = Instance {
        account_id: text("8d10da13-8125-4ba9-a717-bf7490507b3d"),
        region: text("westeurope"),
        availability_zone: text("2"),
        id: text("02aab8a4-74ef-476e-8182-f6d2ba4166a6"),
        kind: text("Standard_D2s_v5"),
        local_ipv4: text("10.144.133.132"),
        public_ipv4: text("192.0.2.9"),
        ..Instance::default()
    };
    let other =
        |id: &str, region: &str| Instance { id: text(id), region: text(region), ..Instance::default() };
    vec![
        (Provider::Aws, AWS, Some(AWS_GUARD), aws()),
        (Provider::Gcp, GCP, Some(GCP_GUARD), gcp),
        (Provider::Azure, AZURE, Some(AZURE_GUARD), azure),
        (
            Provider::DigitalOcean,
            &[("GET", "/metadata/v1/id", "1111111"), ("GET", "/metadata/v1/region", "nyc3")],
            None,
            other("1111111", "nyc3"),
        ),
        (
            Provider::Hetzner,
            &[
                ("GET", "/hetzner/v1/metadata/instance-id", "42"),
                ("GET", "/hetzner/v1/metadata/region", "eu-central"),
            ],
            None,
            other("42", "eu-central"),
        ),
        (
            Provider::Oracle,
            &[(
                "GET",
                "/opc/v2/instance/",
                r#"{"id":"ocid1.instance.oc1.a","region":"fra","canonicalRegionName":"eu-frankfurt-1"}"#,
            )],
            Some(("authorization", "Bearer Oracle", "403 Forbidden")),
            other("ocid1.instance.oc1.a", "eu-frankfurt-1"),
        ),
        (
            Provider::Alibaba,
            &[
                ("PUT", "/latest/api/token", "ALI"),
                ("GET", "/latest/meta-data/instance-id", "i-bp1"),
                ("GET", "/latest/meta-data/region-id", "cn-hangzhou"),
            ],
            Some(("x-aliyun-ecs-metadata-token", "ALI", "403 Forbidden")),
            other("i-bp1", "cn-hangzhou"),
        ),
    ]
}

#[test]
fn each_cloud_is_asked_as_it_documents() {
    let clouds = clouds();
    assert_eq!(clouds.len(), Provider::ALL.len());
    for (provider, answers, guard, expected) in clouds {
        let fake = Fake::start(answers, guard, Mood::Answers);
        let (found, asked) = ask(provider, &fake);
        assert!(asked.is_ok(), "{provider:?}: {asked:?}");
        assert_eq!(found, expected, "{provider:?}");
        assert_eq!(fake.asked().len(), answers.len(), "{provider:?}: {:?}", fake.asked());
    }
}

#[test]
fn a_field_that_is_missing_takes_nothing_else_away() {
    for (provider, answers, guard, expected) in clouds().into_iter().filter(|cloud| cloud.1.len() > 1) {
        for (index, (method, path, _)) in answers.iter().enumerate() {
            let mut rest = answers.to_vec();
            rest.remove(index);
            let fake = Fake::start(&rest, guard, Mood::Answers);
            let (found, asked) = ask(provider, &fake);
            if *method == "PUT" {
                assert!(asked.is_err() && found == Instance::default(), "{provider:?}: {found:?}");
                continue;
            }
            assert!(asked.is_ok(), "{provider:?} without {path}: {asked:?}");
            let known = |instance: &Instance| format!("{instance:?}").matches("Some(").count();
            // The zone of GCP is two.
            let fewer = known(&expected) - known(&found);
            assert!(fewer == 1 || (fewer == 2 && path.ends_with("/zone")), "without {path}: {found:?}");
        }
    }
}

/// The pointers of the texts and numbers in a JSON value.
fn leaves(json: &serde_json::Value) -> Vec<String> {
    let below = |key: &str, value| leaves(value).into_iter().map(|rest| format!("/{key}{rest}")).collect();
    match json {
        serde_json::Value::Object(fields) => {
            fields.iter().flat_map(|(key, value)| -> Vec<String> { below(key, value) }).collect()
        }
        serde_json::Value::Array(items) => {
            let items = items.iter().enumerate();
            items.flat_map(|(index, value)| -> Vec<String> { below(&index.to_string(), value) }).collect()
        }
        _ => vec![String::new()],
    }
}

#[test]
fn a_field_that_is_missing_in_an_answer_takes_nothing_else_away() {
    for (provider, answers, guard, expected) in clouds().into_iter().filter(|cloud| cloud.1.len() == 1) {
        let [(method, path, body)] = answers else { panic!("{provider:?}") };
        let whole: serde_json::Value = serde_json::from_str(body).unwrap();
        let known = |instance: &Instance| format!("{instance:?}").matches("Some(").count();
        let mut fewer = 0;
        for pointer in leaves(&whole) {
            for without in [serde_json::Value::Null, serde_json::json!({"of": "another shape"})] {
                let mut rest = whole.clone();
                *rest.pointer_mut(&pointer).unwrap() = without;
                let mut found = Instance::default();
                let [(_, rows)] = plan(provider).requests().collect::<Vec<_>>()[..] else {
                    panic!("{provider:?} is asked more than {method} {path}")
                };
                assert!(plan::take(rows, &rest.to_string(), &mut found), "{provider:?} without {pointer}");
                let missing = known(&expected) - known(&found);
                assert!(missing <= 1, "{provider:?} without {pointer}: {found:?}");
                fewer += missing;
            }
        }
        // Oracle's region has two names.
        let named_twice = usize::from(provider == Provider::Oracle);
        assert_eq!(fewer, 2 * (known(&expected) - named_twice), "{provider:?}");
        let (found, asked) = ask(provider, &Fake::start(answers, guard, Mood::Answers));
        assert!(asked.is_ok() && found == expected, "{provider:?}: {asked:?}");
    }
}

#[test]
fn an_empty_answer_says_that_there_is_no_such_field() {
    for (provider, answers, guard, expected) in clouds().into_iter().filter(|cloud| cloud.1.len() > 1) {
        for (index, (method, path, _)) in answers.iter().enumerate().filter(|(_, one)| one.0 == "GET") {
            let mut empty = answers.to_vec();
            empty[index] = (method, path, "\n");
            let (found, asked) = ask(provider, &Fake::start(&empty, guard, Mood::Answers));
            assert!(asked.is_ok() && found != expected, "{provider:?} with nothing at {path}: {asked:?}");
        }
    }
}

#[test]
fn the_first_version_of_aws_is_never_asked() {
    // A service that answers version 1 and has no token.
    let fake = Fake::start(&AWS[1..], None, Mood::Answers);
    let (found, asked) = ask(Provider::Aws, &fake);
    assert!(matches!(&asked, Err(Failure::Status { status: 404, .. })), "{asked:?}");
    assert_eq!(found, Instance::default());
    assert_eq!(fake.asked(), ["PUT /latest/api/token"]);
}

#[test]
fn what_is_no_metadata_becomes_no_attribute() {
    const PAGE: &str = "<!DOCTYPE html><html><body>Log in to the guest network</body></html>";
    for (provider, ..) in clouds() {
        for (status, body) in [
            ("200 OK", PAGE),
            ("200 OK", ""),
            ("200 OK", "[]"),
            ("200 OK", "{\"compute\": [1], \"network\": {\"interface\": \"none\"}, \"id\": {}}"),
            ("401 Unauthorized", "no"),
            ("404 Not Found", "i-1"),
            ("302 Found\r\nlocation: http://127.0.0.1:9/", ""),
            ("500 Oops", "i-1"),
        ] {
            let fake = Fake::start(&[], None, Mood::Always(status, body));
            let (found, asked) = ask(provider, &fake);
            assert!(asked.is_err(), "{provider:?} takes {status} {body}");
            assert_eq!(found, Instance::default(), "{provider:?}, {body}");
        }
    }
}

#[test]
fn a_service_that_is_slow_silent_or_endless_ends_in_time() {
    for (mood, most) in [
        (Mood::Silent, Duration::from_millis(1500)),
        (Mood::Slow(Duration::from_millis(700)), WITHIN + Duration::from_millis(500)),
        (Mood::Endless, WITHIN),
    ] {
        let fake = Fake::start(AWS, None, mood.clone());
        let began = Instant::now();
        let (_, asked) = ask(Provider::Aws, &fake);
        assert!(asked.is_err() && began.elapsed() < most, "{mood:?}: {asked:?} after {:?}", began.elapsed());
    }
    let fake = Fake::start(AWS, None, Mood::Silent);
    let (_, asked) = ask(Provider::Aws, &fake);
    let text = asked.unwrap_err().to_string();
    assert!(text.contains("/latest/api/token: no answer within 1s") && text.contains("hop limit"), "{text}");
}

#[test]
fn what_was_answered_before_a_failure_is_kept() {
    let fake = Fake::start(AWS, Some(AWS_GUARD), Mood::Slow(Duration::from_millis(400)));
    let (found, asked) = ask(Provider::Aws, &fake);
    assert!(matches!(asked, Err(Failure::Timeout { .. })), "{asked:?}");
    assert_eq!((found.id, found.region), (aws().id, aws().region));
}

#[test]
fn values_are_short_and_made_of_what_ids_have() {
    assert_eq!(value(" i-1\n"), text("i-1"));
    let longest = "x".repeat(255);
    assert_eq!(value(&longest), Some(longest.clone()));
    for bad in ["", "\n", "a b", "<html>", "a\u{7}b", "é", "[]", "\"x\"", &format!("{longest}x")] {
        assert_eq!(value(bad), None, "{bad}");
    }
}

#[test]
fn an_endpoint_is_plain_http() {
    for good in ["http://169.254.169.254", "http://[fd00:ec2::254]:80", "http://proxy:8080/aws/"] {
        assert!(Endpoint::parse(good).is_ok(), "{good}");
    }
    for bad in ["", "169.254.169.254", "https://a", "http://u:p@a", "http://a/?q=1", "unix:/x"]
        .into_iter()
        .chain(["http://a:99999", "http://a:0", "http://a:", "http://:80"])
    {
        assert!(Endpoint::parse(bad).is_err(), "{bad}");
    }
}

#[test]
fn files_of_the_firmware_name_the_cloud() {
    let by = |file: &str, text: &str| {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
        dmi::provider(&[root.path()])
    };
    let dmi = |file: &str, text: &str| by(&format!("sys/class/dmi/id/{file}"), text);
    assert_eq!(by("sys/hypervisor/uuid", "ec2e1916-9099-7caf-fd21-012345abcdef\n"), Some(Provider::Aws));
    assert_eq!(by("sys/hypervisor/uuid", "EC2e1916\n"), Some(Provider::Aws));
    assert_eq!(by("sys/hypervisor/uuid", "00000000-0000-0000-0000-000000000000\n"), None);
    for (file, text, provider) in [
        ("board_vendor", "Amazon EC2\n", Provider::Aws),
        ("board_vendor", "Google\n", Provider::Gcp),
        ("chassis_asset_tag", "7783-7084-3265-9085-8269-3286-77\n", Provider::Azure),
        ("board_vendor", "DigitalOcean\n", Provider::DigitalOcean),
        ("sys_vendor", "Hetzner\n", Provider::Hetzner),
        ("sys_vendor", "Alibaba Cloud\n", Provider::Alibaba),
        ("chassis_asset_tag", "OracleCloud.com\n", Provider::Oracle),
    ] {
        assert_eq!(dmi(file, text), Some(provider), "{file}: {text}");
    }
    // The vendor of Azure's machines is that of every virtual machine of Hyper-V.
    for (file, text) in [
        ("board_vendor", "Microsoft Corporation\n"),
        ("board_vendor", "Dell Inc.\n"),
        ("sys_vendor", "QEMU\n"),
        ("board_vendor", ""),
    ] {
        assert_eq!(dmi(file, text), None, "{file}: {text}");
    }
    assert_eq!(dmi::provider(&[Path::new("/nowhere")]), None);
}
