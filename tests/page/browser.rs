//! The page in Debian's Chromium, about a network namespace in which something is wrong.

use super::picture::Picture;
use crate::support::browser::Browser;
use crate::support::receiver::{Receiver, Speaks};
use crate::support::{Agent, Namespace, PATIENCE, command, get};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Interval of the push.
const INTERVAL: Duration = Duration::from_secs(4);

/// A label value that would do something, if it were anything but text.
const HOSTILE: &str = "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>";

/// An agent about its own namespace: one probe is up, two are down.
fn agent(receiver: &Receiver) -> (Agent, SocketAddr, tempfile::NamedTempFile) {
    let mut file = tempfile::Builder::new().suffix(".yaml").tempfile().unwrap();
    let hostile = HOSTILE.replace('\'', "''");
    write!(
        file,
        "export:\n  otlp: {{endpoint: '{}', interval: {}ms, jitter: 0s}}\n  prometheus: {{listen: '127.0.0.1:0'}}\n\
         resource: {{cloud: {{detect: off}}}}\n\
         sources:\n  sockets: {{peer_groups: {{shop: [127.0.0.2/32]}}}}\n  probes:\n    interval: 1s\n    targets:\n\
         \x20     - {{name: web, host: 127.0.0.2, port: 8080}}\n\
         \x20     - {{name: db, host: 127.0.0.2, port: 5432}}\n\
         \x20     - {{name: hostile, host: 127.0.0.1, port: 1, labels: {{team: '{hostile}'}}}}\n",
        receiver.url(),
        INTERVAL.as_millis()
    )
    .unwrap();
    let mut agent = Agent::start(command(&["--config", file.path().to_str().unwrap()]));
    let address = agent.address();
    (agent, address, file)
}

/// Connections that are served, over a network path that loses segments, refused, or not accepted, until told to stop.
fn traffic(stop: &AtomicBool) {
    let served = TcpListener::bind("127.0.0.2:8080").unwrap();
    let full = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    full.bind(&"127.0.0.2:8025".parse::<SocketAddr>().unwrap().into()).unwrap();
    full.listen(4).unwrap();
    let client = TcpStream::connect("127.0.0.2:8080").unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    let own = client.local_addr().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            // A probe of the agent connects too, and comes first where the client's first segment was lost.
            let from_client = |(stream, peer)| (peer == own).then_some(stream);
            let mut stream = std::iter::from_fn(|| served.accept().ok()).find_map(from_client).unwrap();
            let mut some = [0; 4096];
            while stream.read(&mut some).is_ok_and(|length| length > 0) {
                if stream.write_all(b"answer").is_err() {
                    return;
                }
            }
        });
        // It is closed at the end of this, which ends the server.
        let mut client = client;
        let mut waiting = Vec::new();
        let mut answer = [0; 6];
        while !stop.load(Ordering::Relaxed) {
            client.write_all(&[7; 2000]).unwrap();
            client.read_exact(&mut answer).unwrap();
            let _refused = TcpStream::connect("127.0.0.2:5432");
            if waiting.len() < 8 {
                let address = "127.0.0.2:8025".parse().unwrap();
                waiting.push(TcpStream::connect_timeout(&address, Duration::from_millis(50)));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    });
}

/// Set when this goes out of scope, also where an assertion fails.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn the_page_shows_what_is_wrong_in_light_and_dark_on_a_phone_and_by_keys() {
    let Some(namespace) = Namespace::new() else { return };
    // Some segments to the port are lost.
    namespace.run(
        "nft",
        &["add chain inet t i { type filter hook input priority 0; }; \
           add rule inet t i tcp dport 8080 numgen random mod 100 < 6 drop"],
    );
    namespace.inside(|| {
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let _at_the_end = Ends(&stop);
            scope.spawn(|| traffic(&stop));
            let Some(mut browser) = Browser::start() else { return };
            let receiver = Receiver::start(Speaks::Grpc);
            let (_agent, address, _file) = agent(&receiver);
            browser.screen(1280, 1000, false);
            browser.scheme("light");
            browser.open(&format!("http://{address}/"));
            contents(&mut browser);
            updates(&mut browser);
            pictures(&mut browser);
            keys(&mut browser);
            assert_eq!(browser.complaints(), Vec::<String>::new(), "nothing on the console");
            let own = format!("http://{address}/");
            let elsewhere: Vec<String> = browser
                .requests()
                .into_iter()
                .filter(|url| !url.starts_with(&own) && url != "about:blank")
                .collect();
            assert!(elsewhere.is_empty(), "{elsewhere:?}");
            assert_eq!(get(address, "/-/healthy").0, 200);
        });
    });
}

/// Every source, every plot that has something, and the worst groups are there; what is hostile is text.
fn contents(browser: &mut Browser) {
    browser.until("document.querySelectorAll('#table-down tbody tr').length >= 2");
    browser.until("document.querySelectorAll('.uplot').length >= 7");
    browser.until("document.querySelector('#plot-connections .now').textContent.includes('/s')");
    let sources = browser.text("document.getElementById('sources').innerText");
    for source in ["conntrack", "sockets", "network", "probes"] {
        assert!(
            sources.contains(&format!("{source} up")) || sources.contains(&format!("{source}up")),
            "{sources}"
        );
    }
    assert!(sources.contains("containers"), "those that are off too: {sources}");
    let now = |browser: &mut Browser, plot: &str| {
        browser.text(&format!("document.querySelector('#plot-{plot} .now').innerText"))
    };
    let table = now(browser, "table");
    assert!(table.contains("entries") && table.contains('%'), "{table}");
    assert!(now(browser, "drops").starts_with("0/s / 0/s / 0/s"));
    assert_eq!(now(browser, "probes"), "1 / 2 up / down");
    browser.until("/\\d (µs|ms)/.test(document.querySelector('#plot-rtt .now').innerText)");
    browser.until("parseFloat(document.querySelector('#plot-retransmits .now').innerText) > 0");
    browser.until("parseFloat(document.querySelector('#plot-connections .now').innerText) > 1");
    browser.until("parseFloat(document.querySelector('#plot-accept .now').innerText) >= 4");
    assert!(browser.text("document.querySelector('#plot-containers').innerText").contains("not collected"));
    let groups = browser.text("document.getElementById('table-groups').innerText");
    assert!(groups.contains("server.port=8080") && groups.contains("peer_group=shop"), "{groups}");
    let down = browser.text("document.getElementById('table-down').innerText");
    assert!(down.contains("probe.name=db") && down.contains("connection_refused"), "{down}");
    assert!(down.contains(HOSTILE), "as it is written: {down}");
    assert_eq!(browser.value("document.querySelectorAll('main img, main script').length"), 0);
    assert_eq!(browser.value("document.getElementById('probes-link').hidden"), false, "there are probes");
    assert!(browser.text("document.title").starts_with("connscope 127.0.0.1:"));
}

/// What changes is on the page within two cycles.
fn updates(browser: &mut Browser) {
    let shown = "parseInt(document.querySelector('#plot-table .now').innerText)";
    let before = browser.value(shown).as_u64().unwrap();
    let more = before + 300;
    assert!(more < 9000, "shown in full: {more}");
    let silent = UdpSocket::bind("127.0.0.3:0").unwrap();
    let sockets: Vec<UdpSocket> = (0..300).map(|_| UdpSocket::bind("127.0.0.1:0").unwrap()).collect();
    for socket in &sockets {
        socket.send_to(b"?", silent.local_addr().unwrap()).unwrap();
    }
    let took = browser.until(&format!("{shown} >= {more}"));
    assert!(took < INTERVAL * 2, "{took:?}");
}

/// Where an element is: left, top, width, height.
fn place(browser: &mut Browser, element: &str) -> [usize; 4] {
    let place = browser.value(&format!(
        "(() => {{ const box = document.querySelector('{element}').getBoundingClientRect(); \
         return [box.left, box.top, box.width, box.height].map(Math.floor); }})()"
    ));
    let number = |at: usize| usize::try_from(place[at].as_i64().unwrap()).unwrap();
    [number(0), number(1), number(2), number(3)]
}

/// Light, dark and narrow, looked at by their pixels. `CONNSCOPE_SCREENSHOTS` is a folder to keep them in.
fn pictures(browser: &mut Browser) {
    let keep = |name: &str, png: &[u8]| {
        if let Some(folder) = std::env::var_os("CONNSCOPE_SCREENSHOTS") {
            std::fs::write(std::path::Path::new(&folder).join(name), png).unwrap();
        }
    };
    if std::env::var_os("CONNSCOPE_SCREENSHOTS").is_some() {
        // For docs/page.png: plots with more than a few cycles.
        std::thread::sleep(Duration::from_secs(90));
        browser.screen(1000, 720, false);
        browser.until(
            "[...document.querySelectorAll('.uplot')].every((plot) => plot.clientWidth === plot.parentElement.clientWidth)",
        );
        keep("page.png", &browser.screenshot());
        browser.screen(1280, 1000, false);
    }
    let [light, dark] = ["light", "dark"].map(|scheme| {
        browser.scheme(scheme);
        let png = browser.screenshot();
        keep(&format!("{scheme}.png"), &png);
        Picture::of(&png)
    });
    for picture in [&light, &dark] {
        assert_eq!((picture.width, picture.height), (1280, 1000));
        assert!(picture.colours() > 100, "{}", picture.colours());
    }
    assert!(
        light.brightness() > 215.0 && dark.brightness() < 50.0,
        "{} {}",
        light.brightness(),
        dark.brightness()
    );
    let plot = place(browser, "#plot-table canvas");
    let [light, dark] = [(light, [0x2f, 0x6f, 0xde]), (dark, [0x6e, 0xa3, 0xff])]
        .map(|(picture, colour)| picture.count(plot, colour));
    assert!(light > 100 && dark > 100, "the line of the plot: {light} and {dark} pixels");
    browser.scheme("light");
    browser.screen(360, 740, true);
    browser.until("document.documentElement.clientWidth === 360");
    browser.until("[...document.querySelectorAll('.uplot')].every((plot) => plot.clientWidth <= 340)");
    let wide = browser.value("document.documentElement.scrollWidth");
    assert_eq!(wide, 360, "nothing sticks out on a phone");
    let png = browser.screenshot();
    keep("phone.png", &png);
    let phone = Picture::of(&png);
    assert_eq!((phone.width, phone.height), (360, 740));
    assert!(phone.colours() > 50);
    browser.screen(1280, 1000, false);
}

/// Everything is reached with keys: the tab key goes through all of it, the arrows read a plot, Enter sorts and switches.
fn keys(browser: &mut Browser) {
    browser.value("document.activeElement.blur()");
    let mut reached = Vec::new();
    for _ in 0..60 {
        browser.press("Tab");
        let element = "document.activeElement.id || document.activeElement.textContent.trim()";
        reached.push(browser.text(element));
        let now = reached.last().unwrap();
        if reached.iter().filter(|known| *known == now).count() > 1 {
            continue;
        }
        match now.as_str() {
            "plot-rtt" => {
                browser.press("Home");
                browser.until("/\\d:\\d\\d/.test(document.querySelector('#plot-rtt .u-value').textContent)");
                browser.press("ArrowLeft");
            }
            "theme" => {
                browser.press("Enter");
                browser.until("document.documentElement.dataset.theme === 'light'");
                browser.press("Enter");
                browser.until("document.documentElement.dataset.theme === 'dark'");
                browser.until("getComputedStyle(document.body).backgroundColor === 'rgb(15, 19, 24)'");
            }
            "reset" => {
                browser.press("Enter");
                browser
                    .until("document.activeElement.closest('th').getAttribute('aria-sort') === 'descending'");
            }
            _ => {}
        }
    }
    for place in ["Skip to the plots", "theme", "plot-table", "plot-rtt", "table-groups", "reset", "metrics"]
    {
        assert!(reached.iter().any(|known| known == place), "{place}: {reached:?}");
    }
}
