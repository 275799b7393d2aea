//! The answers of ctnetlink, recorded and made up.

use super::fixtures::{bytes, column, cpus, every, line, words};
use connscope::netlink::Progress;
use connscope::source::conntrack::fields::{EXPECTATIONS, Malformed, STATISTICS, Statistics};
use connscope::source::conntrack::netlink::Global;
use connscope::source::conntrack::{command, netlink};

const SEQUENCE: u32 = 1;

fn dump(datagrams: &[&[u8]]) -> (Statistics, Vec<Progress>) {
    let mut statistics = Statistics::default();
    let parse =
        |datagram: &&[u8]| netlink::parse_dump(datagram, SEQUENCE, STATISTICS, &mut statistics).unwrap();
    let progress = datagrams.iter().map(parse).collect();
    (statistics, progress)
}

fn dumped(datagram: &[u8]) -> Result<Progress, Malformed> {
    netlink::parse_dump(datagram, SEQUENCE, STATISTICS, &mut Statistics::default())
}

fn message(kind: u16, flags: u16, sequence: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(16 + payload.len()).unwrap();
    let mut message = length.to_ne_bytes().to_vec();
    message.extend(kind.to_ne_bytes());
    message.extend(flags.to_ne_bytes());
    message.extend(sequence.to_ne_bytes());
    message.extend(0u32.to_ne_bytes());
    message.extend(payload);
    message
}

fn attribute(kind: u16, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(4 + payload.len()).unwrap();
    let mut attribute = [length.to_ne_bytes(), kind.to_ne_bytes()].concat();
    attribute.extend(payload);
    attribute.resize(attribute.len().next_multiple_of(4), 0);
    attribute
}

fn number(kind: u16, value: u32) -> Vec<u8> {
    attribute(kind, &value.to_be_bytes())
}

/// One message of a dump of statistics.
fn row_of(cpu: u16, attributes: &[Vec<u8>]) -> Vec<u8> {
    let payload = [[&[0, 0], cpu.to_be_bytes().as_slice()].concat(), attributes.concat()].concat();
    message(0x0104, 2, SEQUENCE, &payload)
}

#[test]
fn is_asked_for_with_the_bytes_that_were_recorded() {
    if cfg!(target_endian = "little") {
        let statistics = [20, 0, 0, 0, 4, 1, 1, 3, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(netlink::request(0x0104, 0x0301, 1), statistics);
        let global = [20, 0, 0, 0, 5, 1, 5, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(netlink::request(0x0105, 0x0005, 1), global);
    }
}

#[test]
#[cfg_attr(target_endian = "big", ignore = "recorded on a little-endian machine")]
fn of_todays_kernel_is_read_under_the_real_numbers_of_the_cpus() {
    let (rows, done) =
        (bytes("netlink/linux-6.18-statistics.1.bin"), bytes("netlink/linux-6.18-statistics.2.bin"));
    let (statistics, progress) = dump(&[&rows, &done]);
    assert_eq!(progress, [Progress::More, Progress::Done]);
    assert_eq!(statistics.entries, None);
    assert_eq!(statistics.rows.len(), 2);
    assert_eq!(
        line(&statistics, 0),
        "found=0 invalid=6 insert=3 insert_failed=0 drop=0 early_drop=0 error=6 search_restart=0 \
         clash_resolve=0 chaintoolong=0"
    );
    assert_eq!(
        line(&statistics, 1),
        "found=4 invalid=10 insert=5 insert_failed=0 drop=0 early_drop=0 error=10 search_restart=0 \
         clash_resolve=0 chaintoolong=0"
    );
}

#[test]
#[cfg_attr(target_endian = "big", ignore = "recorded on a little-endian machine")]
fn of_three_inserts_is_read() {
    let (rows, done) =
        (bytes("netlink/linux-6.18-three-inserts.1.bin"), bytes("netlink/linux-6.18-three-inserts.2.bin"));
    let (statistics, progress) = dump(&[&rows, &done]);
    assert_eq!(progress, [Progress::More, Progress::Done]);
    assert_eq!(cpus(&statistics), [0, 1]);
    assert_eq!(column(&statistics, "insert"), [0, 3]);
    let sum: u64 = statistics.rows.iter().flat_map(|row| &row.fields).map(|(_, value)| value).sum();
    assert_eq!(sum, 3, "all others are 0");
}

#[test]
#[cfg_attr(target_endian = "big", ignore = "laid out for a little-endian machine")]
fn of_kernels_3_6_to_4_8_is_read() {
    let (statistics, progress) = dump(&[&bytes("netlink/linux-3.6-to-4.8-statistics.1.bin")]);
    assert_eq!(progress, [Progress::More]);
    assert_eq!(
        line(&statistics, 0),
        "searched=202143 found=48658538 new=1320290 invalid=114579 ignore=14786641 delete=1320247 \
         delete_list=757728 insert=757771 insert_failed=0 drop=0 early_drop=0 error=111722 search_restart=0"
    );
}

#[test]
#[cfg_attr(target_endian = "big", ignore = "recorded on a little-endian machine")]
fn of_expectations_is_read_though_its_type_is_another() {
    let rows = bytes("netlink/linux-6.18-expectations.1.bin");
    assert_eq!(rows[4..6], [0x03, 0x01], "asked for 0x0203");
    let mut statistics = Statistics::default();
    let progress = netlink::parse_dump(&rows, SEQUENCE, EXPECTATIONS, &mut statistics);
    assert_eq!(progress, Ok(Progress::More));
    assert_eq!(cpus(&statistics), [0, 1]);
    assert_eq!(line(&statistics, 0), "expect_new=1 expect_create=1 expect_delete=1");
    assert_eq!(line(&statistics, 1), "expect_new=1 expect_create=1 expect_delete=1");
    let done = bytes("netlink/linux-6.18-expectations.2.bin");
    let progress = netlink::parse_dump(&done, SEQUENCE, EXPECTATIONS, &mut statistics);
    assert_eq!(progress, Ok(Progress::Done));
}

#[test]
#[cfg_attr(target_endian = "big", ignore = "recorded on a little-endian machine")]
fn of_the_table_is_one_message_that_no_end_follows() {
    let mut global = Global::default();
    let progress = netlink::parse_global(&bytes("netlink/linux-6.18-global.1.bin"), SEQUENCE, &mut global);
    assert_eq!(progress, Ok(Progress::More));
    assert_eq!(global, Global { entries: Some(16), limit: Some(262_144) });

    let mut global = Global::default();
    let acknowledged = [1, 2].map(|part| {
        let datagram = bytes(&format!("netlink/linux-6.18-global-acknowledged.{part}.bin"));
        netlink::parse_global(&datagram, SEQUENCE, &mut global).unwrap()
    });
    assert_eq!(acknowledged, [Progress::More, Progress::Done]);
    assert_eq!(global, Global { entries: Some(16), limit: Some(262_144) });
}

#[test]
fn of_the_table_has_no_limit_before_4_18() {
    let mut global = Global::default();
    let answer = message(0x0105, 2, SEQUENCE, &[vec![0; 4], number(1, 434)].concat());
    assert_eq!(netlink::parse_global(&answer, SEQUENCE, &mut global), Ok(Progress::More));
    assert_eq!(global, Global { entries: Some(434), limit: None });
}

#[test]
#[cfg_attr(target_endian = "big", ignore = "recorded on a little-endian machine")]
fn to_the_unprivileged_is_a_refusal() {
    let refusal = bytes("netlink/linux-6.18-refused.1.bin");
    assert_eq!(dumped(&refusal), Ok(Progress::Refused(1)));
    let mut global = Global::default();
    assert_eq!(netlink::parse_global(&refusal, SEQUENCE, &mut global), Ok(Progress::Refused(1)));
    assert_eq!(global, Global::default());
}

#[test]
fn keeps_attributes_nobody_has_heard_of_under_the_name_the_tool_gives_them() {
    let (statistics, _) = dump(&[&row_of(7, &[number(2, 5), number(16, 7), number(17, u32::MAX)])]);
    assert_eq!(line(&statistics, 7), "found=5 unknown1=7 unknown2=4294967295");
    let tool = command::parse(&bytes("command/unknown1.txt")).unwrap();
    assert_eq!(column(&tool, "unknown1")[0], 7);
}

#[test]
fn of_another_shape_than_a_number_is_passed_over_only_where_it_is_unknown() {
    let nested = attribute(16 | 0x8000, &number(1, 2));
    let text = attribute(17, b"text\0");
    let (statistics, _) = dump(&[&row_of(0, &[number(2, 5), nested, text, number(4, 6)])]);
    assert_eq!(words(&statistics)[..1], ["found"]);
    assert_eq!(column(&statistics, "invalid"), [6], "what follows is still found, past the padding");
    let short = row_of(0, &[attribute(10, &[1, 2])]);
    assert_eq!(dumped(&short), Err(Malformed::Length { number: 10, length: 2 }));
}

#[test]
fn in_64_bits_is_read_too_should_a_kernel_ever_count_so() {
    let wide = row_of(0, &[attribute(10, &(1u64 << 40).to_be_bytes())]);
    assert_eq!(column(&dump(&[&wide]).0, "drop"), [1 << 40]);
}

#[test]
fn over_several_datagrams_is_one_answer() {
    let first = [row_of(0, &[number(10, 1)]), row_of(1, &[number(10, 2)])].concat();
    let second = [row_of(255, &[number(10, 3)]), message(3, 2, SEQUENCE, &[0; 4])].concat();
    let (statistics, progress) = dump(&[&first, &second]);
    assert_eq!(progress, [Progress::More, Progress::Done]);
    assert_eq!(cpus(&statistics), [0, 1, 255]);
    assert_eq!(column(&statistics, "drop"), [1, 2, 3]);
}

#[test]
fn to_an_earlier_question_is_passed_over() {
    let mut late = row_of(0, &[number(10, 1)]);
    late[8..12].copy_from_slice(&9u32.to_ne_bytes());
    let late_end = message(3, 2, 9, &[0; 4]);
    let late_refusal = message(2, 0, 9, &[&(-1i32).to_ne_bytes()[..], &[0; 16]].concat());
    let datagram = [late, late_end, late_refusal, row_of(0, &[number(10, 2)])].concat();
    let (statistics, progress) = dump(&[&datagram]);
    assert_eq!(progress, [Progress::More]);
    assert_eq!(column(&statistics, "drop"), [2]);
}

#[test]
fn that_does_not_hold_together_is_interrupted() {
    let mut torn = row_of(0, &[number(10, 1)]);
    torn[6..8].copy_from_slice(&0x12u16.to_ne_bytes());
    assert_eq!(dumped(&torn), Ok(Progress::Interrupted), "NLM_F_DUMP_INTR");
    assert_eq!(dumped(&message(4, 0, SEQUENCE, &[])), Ok(Progress::Interrupted), "NLMSG_OVERRUN");
}

#[test]
fn with_an_error_number_is_a_refusal_and_with_none_the_end() {
    let error = |number: i32| message(2, 0, SEQUENCE, &[&number.to_ne_bytes()[..], &[0; 16]].concat());
    assert_eq!(dumped(&error(-1)), Ok(Progress::Refused(1)));
    assert_eq!(dumped(&error(-22)), Ok(Progress::Refused(22)));
    assert_eq!(dumped(&error(0)), Ok(Progress::Done));
    assert_eq!(dumped(&error(i32::MIN)), Ok(Progress::Refused(i32::MAX)));
    assert_eq!(dumped(&message(2, 0, SEQUENCE, &[0, 0])), Err(Malformed::CutOff(2)));
}

/// `netlink_dump` puts what the dump function returned into the message that ends the dump.
#[test]
fn that_ends_with_an_error_number_is_a_refusal() {
    let end = |number: i32| message(3, 2, SEQUENCE, &number.to_ne_bytes());
    let rows = row_of(0, &[number(10, 1)]);
    assert_eq!(dumped(&[rows.clone(), end(-12)].concat()), Ok(Progress::Refused(12)));
    assert_eq!(dumped(&[rows.clone(), end(0)].concat()), Ok(Progress::Done));
    assert_eq!(dumped(&[rows, message(3, 2, SEQUENCE, &[])].concat()), Ok(Progress::Done));
}

#[test]
fn with_anything_twice_is_refused() {
    let twice = [row_of(3, &[number(10, 1)]), row_of(3, &[number(10, 1)])].concat();
    assert_eq!(dumped(&twice), Err(Malformed::SameCpu(3)));
    let again = row_of(3, &[number(10, 1), number(2, 0), number(10, 2)]);
    assert_eq!(dumped(&again), Err(Malformed::Repeated(10)));
}

#[test]
fn for_a_cpu_there_cannot_be_is_refused() {
    assert_eq!(dumped(&row_of(8192, &[number(10, 1)])), Err(Malformed::NoSuchCpu(8192)));
    assert_eq!(dumped(&row_of(u16::MAX, &[number(10, 1)])), Err(Malformed::NoSuchCpu(65535)));
}

#[test]
fn with_lengths_that_are_not_true_is_refused() {
    let whole = row_of(0, &[number(10, 1), number(11, 2)]);
    for length in [0u32, 1, 15, 45, u32::MAX] {
        let mut lying = whole.clone();
        lying[..4].copy_from_slice(&length.to_ne_bytes());
        assert_eq!(dumped(&lying), Err(Malformed::CutOff(whole.len())), "message of {length}");
    }
    for length in [0u16, 3, 17, u16::MAX] {
        let mut lying = whole.clone();
        lying[20..22].copy_from_slice(&length.to_ne_bytes());
        assert_eq!(dumped(&lying), Err(Malformed::CutOff(16)), "attribute of {length}");
    }
    let mut unaligned = whole.clone();
    unaligned[..4].copy_from_slice(&35u32.to_ne_bytes());
    assert_eq!(dumped(&unaligned), Err(Malformed::CutOff(7)), "ends within the second attribute");
    assert_eq!(dumped(&message(0x0104, 2, SEQUENCE, &[0, 0])), Err(Malformed::CutOff(2)));
    assert_eq!(dumped(&[0; 3]), Err(Malformed::CutOff(3)));
}

#[test]
fn may_be_empty_of_counters() {
    let (statistics, progress) = dump(&[&row_of(0, &[]), &[]]);
    assert_eq!(progress, [Progress::More, Progress::More]);
    assert_eq!(line(&statistics, 0), "");
}

#[test]
fn may_end_anywhere() {
    for file in every("netlink", ".bin") {
        let whole = bytes(&file);
        for length in 0..=whole.len() {
            for known in [STATISTICS, EXPECTATIONS] {
                let mut statistics = Statistics::default();
                let result = netlink::parse_dump(&whole[..length], SEQUENCE, known, &mut statistics);
                assert!(statistics.rows.len() <= 2, "{file}, {length} bytes: {result:?}");
            }
            let mut global = Global::default();
            let result = netlink::parse_global(&whole[..length], SEQUENCE, &mut global);
            assert!(global.entries.is_none_or(|entries| entries < 1 << 32), "{file}: {result:?}");
        }
    }
}
