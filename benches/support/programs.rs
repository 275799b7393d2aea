//! What the BPF programs of this process cost.

/// Time and number of the runs of this process's programs, while that is measured.
pub(crate) fn program_time() -> (u64, u64) {
    let files = std::fs::read_dir("/proc/self/fdinfo").into_iter().flatten().flatten();
    let (mut time, mut runs) = (0, 0);
    for file in files {
        let text = std::fs::read_to_string(file.path()).unwrap_or_default();
        let number = |name: &str| -> u64 {
            let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            line.and_then(|line| line.trim().parse().ok()).unwrap_or_default()
        };
        time += number("run_time_ns");
        runs += number("run_cnt");
    }
    (time, runs)
}
