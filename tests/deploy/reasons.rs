//! The kernel's words for why it drops and resets, wherever alerts, runbooks and pages have them: a word that no kernel has finds
//! nothing.

use super::{alerts, deploy, files, read, text};
use std::collections::BTreeSet;

/// Words in capitals that are no reasons: chains, capabilities, states and options of sockets, and where the names come from.
fn is_no_reason(word: &str) -> bool {
    let others =
        ["FORWARD", "OUTPUT", "SIOCETHTOOL", "SO_LINGER", "SKB_DROP_REASON_NETFILTER_DROP", "NOT_SPECIFIED"];
    word.starts_with("CAP_") || others.contains(&word)
}

/// The reasons of a recorded kernel: to drop, with those of subsystems, or to reset.
fn recorded(enumerations: &[&str]) -> BTreeSet<String> {
    let text = read(&deploy("tests/fixtures/network/linux-6.18-reasons"));
    let reasons = text.lines().filter_map(|line| {
        let (enumeration, name) = line.split_once(' ').unwrap();
        let prefixes = ["SKB_DROP_REASON_SUBSYS_", "SKB_DROP_REASON_", "SK_RST_REASON_"];
        let name = prefixes.iter().find_map(|prefix| name.strip_prefix(prefix))?;
        enumerations.contains(&enumeration).then(|| name.to_owned())
    });
    reasons.collect()
}

fn all() -> BTreeSet<String> {
    recorded(&["skb_drop_reason", "skb_drop_reason_subsys", "sk_rst_reason"])
}

/// The alternatives of a pattern that are not in parentheses.
fn alternatives(pattern: &str) -> Vec<String> {
    let (mut depth, mut parts) = (0, vec![String::new()]);
    for each in pattern.chars() {
        match each {
            '|' if depth == 0 => {
                parts.push(String::new());
                continue;
            }
            '(' => depth += 1,
            ')' => depth -= 1,
            _ => {}
        }
        parts.last_mut().unwrap().push(each);
    }
    parts
}

/// Panics unless each word of each pattern of `reason` in a query matches a reason to drop.
fn assert_known(place: &str, expr: &str) -> usize {
    let known = recorded(&["skb_drop_reason", "skb_drop_reason_subsys"]);
    let mut words = 0;
    for matcher in ["reason=~\"", "reason=\""] {
        for pattern in expr.split(matcher).skip(1).map(|rest| rest.split('"').next().unwrap()) {
            for word in alternatives(pattern) {
                let exact = regex_lite::Regex::new(&format!("^(?:{word})$")).unwrap();
                assert!(known.iter().any(|name| exact.is_match(name)), "{place}: no reason is {word}");
                words += 1;
            }
        }
    }
    words
}

#[test]
fn every_word_of_the_alerts_about_drops_is_a_reason_of_the_kernel() {
    let drops: Vec<_> =
        alerts().into_iter().filter(|alert| text(alert, "alert").starts_with("NetworkPackets")).collect();
    assert_eq!(drops.len(), 2);
    for alert in drops {
        assert!(assert_known(text(&alert, "alert"), text(&alert, "expr")) > 5);
    }
}

/// Words in capitals between backquotes.
fn capitals(text: &str) -> BTreeSet<&str> {
    let words = text.split('`').skip(1).step_by(2);
    let is_capital = |word: &&str| {
        word.len() > 3
            && word.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_')
    };
    words.filter(is_capital).collect()
}

#[test]
fn every_reason_in_the_pages_is_one_of_the_kernel() {
    let known = all();
    let page = |name: &str| read(&deploy(name));
    let (network, lost) = (page("docs/network.md"), page("docs/packet-loss.md"));
    let drops = network.split("## Drops by reason").nth(1).unwrap();
    let runbooks: Vec<String> =
        ["Denied", "Dropped"].map(|name| page(&format!("docs/runbooks/NetworkPackets{name}.md"))).into();
    let mut found = 0;
    for text in runbooks.iter().map(String::as_str).chain([drops, lost.as_str()]) {
        for word in capitals(text).into_iter().filter(|word| !is_no_reason(word)) {
            assert!(known.contains(word), "no reason is {word}");
            found += 1;
        }
    }
    assert!(found > 80, "{found}");
    for path in files("docs/runbooks", "md") {
        assert_known(&path.display().to_string(), &read(&path));
    }
}

#[test]
fn every_reason_of_the_alert_about_losses_is_in_its_runbook_or_its_page() {
    let alerts = alerts();
    let pages = [
        "docs/runbooks/NetworkPacketsDropped.md",
        "docs/runbooks/NetworkPacketsDenied.md",
        "docs/network.md",
    ];
    let pages: Vec<String> = pages.iter().map(|page| read(&deploy(page))).collect();
    for alert in alerts.iter().filter(|alert| text(alert, "alert").starts_with("NetworkPackets")) {
        let pattern = text(alert, "expr").split("reason=~\"").nth(1).unwrap().split('"').next().unwrap();
        for word in alternatives(pattern).iter().filter(|word| !word.contains(['(', '.'])) {
            assert!(pages.iter().any(|page| capitals(page).contains(word.as_str())), "no page has {word}");
        }
    }
}
