//! Views of real metrics, in both namings.

use super::super::history::tests::history;
use super::super::views::View;
use super::{Order, Table, table};

fn of(texts: &[&str], view: View, order: Order, filter: &str) -> Table {
    table(history(texts).now.as_ref().unwrap(), view, order, filter)
}

/// Names and cells, as texts.
fn rows(table: &Table) -> Vec<(&str, Vec<&str>)> {
    table
        .rows
        .iter()
        .map(|row| (row.name.as_str(), row.cells.iter().map(|cell| cell.text.as_str()).collect()))
        .collect()
}

#[test]
fn series_of_all_cpus_are_one_row_and_levels_have_no_rate() {
    let one = "conntrack_found_total{cpu=\"0\"} 1\nconntrack_found_total{cpu=\"1\"} 2\nconntrack_table_usage 7\nsoftnet_dropped_total 1\n";
    let two = "conntrack_found_total{cpu=\"0\"} 2\nconntrack_found_total{cpu=\"1\"} 5\nconntrack_table_usage 9\nsoftnet_dropped_total 1\n";
    let table = of(&[one, two], View::Table, View::Table.order(), "");
    assert_eq!(
        rows(&table),
        [("found", vec!["4", "4", "7", "", ""]), ("table.usage", vec!["", "", "9", "", ""])]
    );
    let table = of(&[one, two], View::Rates, View::Rates.order(), "");
    let names: Vec<&str> = table.rows.iter().map(|row| row.name.as_str()).collect();
    assert_eq!(names, ["conntrack.found", "softnet.dropped"], "the fastest first");
    let all = of(&[one, two], View::All, View::All.order(), "USAGE".to_lowercase().as_str());
    assert_eq!(all.rows.len(), 1);
}

#[test]
fn the_worst_groups_come_first_and_those_without_a_value_last() {
    let group = |port: u16, sent: u64, again: u64| {
        format!(
            "tcp_segments_total{{direction=\"incoming\",network_io_direction=\"transmit\",server_port=\"{port}\"}} {sent}\n\
             tcp_segments_total{{direction=\"incoming\",network_io_direction=\"receive\",server_port=\"{port}\"}} 999999\n\
             tcp_retransmits_total{{direction=\"incoming\",server_port=\"{port}\"}} {again}\n\
             tcp_open_connections{{direction=\"incoming\",server_port=\"{port}\"}} {port}\n"
        )
    };
    let before = [group(1, 100, 0), group(2, 100, 0), group(3, 100, 0)].concat();
    let after = [group(1, 200, 1), group(2, 200, 50), group(3, 100, 0)].concat();
    let table = of(&[&before, &after], View::Groups, View::Groups.order(), "");
    let shown: Vec<(&str, &str, bool)> = table
        .rows
        .iter()
        .map(|row| (row.name.as_str(), row.cells[1].text.as_str(), row.cells[1].alarm))
        .collect();
    assert_eq!(
        shown,
        [("incoming :2", "50 %", true), ("incoming :1", "1 %", false), ("incoming :3", "", false)]
    );
    let reversed = of(&[&before, &after], View::Groups, (2, false), "");
    assert_eq!(reversed.rows.last().unwrap().name, "incoming :3", "no value is last in either order");
}

#[test]
fn probes_say_the_result_that_came_last() {
    let text = |up: u8, success: u64, failure: u64| {
        let labels = "probe_name=\"web\",server_address=\"::1\",server_port=\"443\"";
        format!(
            "probe_up{{{labels}}} {up}\nprobe_runs_total{{outcome=\"success\",{labels}}} {success}\n\
             probe_runs_total{{outcome=\"failure\",{labels}}} {failure}\n\
             probe_last_change_time_seconds{{{labels}}} 1699999990\n"
        )
    };
    let texts = [text(1, 1, 0), text(1, 2, 0), text(0, 2, 1), text(0, 2, 1)];
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let result = |count: usize| {
        let table = of(&texts[..count], View::Probes, View::Probes.order(), "");
        (table.rows[0].cells[1].text.clone(), table.rows[0].cells[0].alarm, table.rows[0].name.clone())
    };
    assert_eq!(result(2), ("success".to_owned(), false, "web [::1]:443".to_owned()));
    assert_eq!(result(4).0, "failure");
    assert!(result(4).1);
    let table = of(&texts, View::Probes, View::Probes.order(), "");
    assert_eq!(table.rows[0].cells[6].text, "13s", "since the last change");
}

#[test]
fn classic_names_fill_the_same_views() {
    let texts = [
        "# TYPE tcp_rtt gauge\ntcp_rtt{flow=\"(10.0.0.1#1)(10.0.0.2#2)\"} 2.5\nconnection_status_up{host=\"a.example\",name=\"db\",port=\"5432\",protocol=\"tcp\"} 0\n",
    ];
    let flows = of(&texts, View::Flows, View::Flows.order(), "");
    assert_eq!(
        (flows.rows[0].name.as_str(), flows.rows[0].cells[1].text.as_str()),
        ("(10.0.0.1#1)(10.0.0.2#2)", "2.5ms")
    );
    let probes = of(&texts, View::Probes, View::Probes.order(), "");
    assert_eq!(
        (probes.rows[0].name.as_str(), probes.rows[0].cells[0].text.as_str()),
        ("db a.example:5432 protocol=tcp", "0")
    );
}

#[test]
fn containers_have_the_name_that_people_gave_them() {
    let series = |labels: &str| format!("container_restarts_total{{{labels}}} 1\n");
    let text = [
        series("container_id=\"abc\",k8s_container_name=\"app\",k8s_namespace_name=\"shop\",k8s_pod_name=\"web-1\""),
        series("container_id=\"def\",container_name=\"db\""),
        series("systemd_unit=\"sshd.service\""),
        series("container_id=\"0123\""),
        "container_tcp_open_connections{container_id=\"def\",container_name=\"db\",network_peer_address=\"10.0.0.9\",network_peer_port=\"5432\",server_address=\"10.96.0.1\",server_port=\"5432\"} 4\n".to_owned(),
    ]
    .concat();
    let table = of(&[&text], View::Containers, (0, false), "");
    let names: Vec<&str> = table.rows.iter().map(|row| row.name.as_str()).collect();
    assert_eq!(names, ["0123", "db", "shop/web-1/app", "sshd.service"]);
    let table = of(&[&text], View::Destinations, (0, false), "");
    assert_eq!(table.rows[0].name, "db → 10.96.0.1:5432 (10.0.0.9:5432)");
}

#[test]
fn every_metric_of_a_column_exists() {
    let parts = crate::agent::parts();
    let known = |name: &str| parts.iter().flat_map(|part| part.rows).any(|row| row.name == name);
    for view in View::ALL {
        let super::Rows::Labels(labels) = view.rows() else { continue };
        for column in labels.columns {
            let whole: &[super::Pick] = if let super::Show::Share(whole) = column.show { whole } else { &[] };
            for pick in column.of.iter().chain(whole) {
                assert!(known(pick.metric), "{}: {} is no metric of the table", column.title, pick.metric);
            }
        }
        assert!(labels.order <= labels.columns.len());
    }
}
