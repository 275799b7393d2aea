//! Files that processes of a service have open: found in the kernel, and by a walk.

use super::Running;
use super::service::Service;

const MESSAGES: &str = "container_log_messages_total";
const SETTINGS: &str = "docker: false, cri: false, journald: false, files: auto";

/// What reading them takes, in either way.
const READING: [&str; 2] = ["dac_read_search", "sys_ptrace"];

/// A walk may take several looks to come around where there are many processes, so the second look for files is not waited for.
fn a_file_is_read_once(capabilities: &[&str], looks: u32) {
    let Some(service) = Service::new() else { return };
    let mut process = service.process();
    process
        .tell("exec 3>>/var/log/app.log 5>/var/log/other; echo ERROR before >&3; chmod 600 /var/log/app.log");
    process.tell("sleep 1000 </dev/null >/dev/null & sleeping=$!");
    let agent = Running::as_nobody(capabilities, SETTINGS, &service.alone());
    let unit = service.label();
    let errors = [&*unit, "log_source=\"file\"", "severity=\"error\""];
    agent.sees(MESSAGES, &errors, 0.0);
    process.tell("echo ERROR one >&3");
    agent.sees(MESSAGES, &errors, 1.0);
    // The other process goes on writing to the old file, which has another name then.
    process.tell("mv /var/log/app.log /var/log/app.log.1; exec 4>>/var/log/app.log; echo ERROR new >&4; echo ERROR old >&3");
    agent.sees(MESSAGES, &errors, 3.0);
    // Files are looked for once more before each of these is read.
    for number in 0..looks {
        process.tell(&format!("exec 6>/var/log/{number}.log; echo ERROR other >&6"));
        agent.sees(MESSAGES, &errors, 4.0 + f64::from(number));
    }
    process.tell("echo ERROR old >&3; echo ERROR new >&4");
    agent.sees(MESSAGES, &errors, f64::from(looks) + 5.0);
    agent.sees("connscope_logs_lost_bytes_total", &[], 0.0);
    // A link is not followed.
    process.tell(
        "mv /var/log/app.log /var/log/app.log.2; ln -s /etc/passwd /var/log/app.log; echo ERROR old >&4",
    );
    agent.sees(MESSAGES, &errors, f64::from(looks) + 6.0);
    agent.sees(MESSAGES, &[&*unit, "severity=\"unknown\""], 0.0);
}

#[test]
fn a_file_that_two_processes_have_open_is_found_in_the_kernel_and_read_once() {
    a_file_is_read_once(&[&READING[..], &["bpf", "perfmon"]].concat(), 2);
}

#[test]
fn without_a_program_in_the_kernel_it_is_found_by_a_walk_and_read_once() {
    a_file_is_read_once(&READING, 0);
}
