//! Conditions as they are stored: each text of the original's tests, documents and builder, with what it means; and
//! texts that are refused, with where and why.

use vamp_routing::PlainHead;
use vamp_routing::condition::Condition;

/// A request: `METHOD TARGET`, then `from ADDRESS`, then fields `Name: value`, parted by `|`.
fn request(text: &str) -> PlainHead {
    let mut head = PlainHead::default();
    for part in text.split('|').map(str::trim).filter(|part| !part.is_empty()) {
        if let Some(address) = part.strip_prefix("from ") {
            head.source = address.parse().unwrap();
        } else if let Some((name, value)) = part.split_once(':') {
            if name.eq_ignore_ascii_case("host") {
                head.host = value.trim().into();
            } else {
                head.fields.push((name.to_owned(), value.trim().to_owned()));
            }
        } else {
            let (method, target) = part.split_once(' ').unwrap();
            head.method = method.into();
            head.target = target.into();
        }
    }
    head
}

/// All `texts` mean the same: they hold for the requests in `yes` and not for those in `no`; and so do their prints.
#[track_caller]
fn check(texts: &[&str], yes: &[&str], no: &[&str]) {
    for text in texts {
        let condition = Condition::parse(text).unwrap_or_else(|error| panic!("`{text}`: {error}"));
        let printed = condition.to_string();
        assert_eq!(Condition::parse(&printed).as_ref(), Ok(&condition), "`{text}` printed as `{printed}`");
        for (wanted, requests) in [(true, yes), (false, no)] {
            for line in requests {
                assert_eq!(condition.matches(&request(line)), wanted, "`{text}` = `{printed}` for `{line}`");
            }
        }
    }
}

const FIREFOX: &str = "User-Agent: Mozilla/5.0 (X11; Linux) Gecko/20100101 Firefox/115.0";
const CHROME: &str = "User-Agent: Mozilla/5.0 (X11) AppleWebKit/537.36 Chrome/120.0 Safari/537.36";
const SAFARI: &str = "User-Agent: Mozilla/5.0 (Mac) AppleWebKit/605.1 Version/17.1 Safari/605.1";
const NOTHING: &str = "GET /";

#[test]
fn a_user_agent_is_told_in_every_old_spelling() {
    let texts = [
        "User-Agent==Firefox",
        "User-Agent== Firefox ",
        "User-Agent == Firefox ",
        " User-Agent == Firefox ",
        "User-Agent = Firefox",
        "User-Agent=Firefox",
        "user.agent == Firefox",
        "useragent == Firefox",
        "USER-AGENT IS FIREFOX",
        "User-Agent is Firefox",
        "User-Agent has Firefox",
        "User-Agent contains Firefox",
        "user-agenthas Firefox",
        " ( User-Agent == Firefox ) ",
        "(User-Agent == Firefox)",
        "user-agent == 'Firefox'",
        "user-agent == \"firefox\"",
        "not (user-agent != Firefox)",
    ];
    check(&texts, &[FIREFOX], &[CHROME, SAFARI, NOTHING, "User-Agent: firefox"]);
    let negated = [
        " User-Agent ! Firefox ",
        " User-Agent != Firefox ",
        "User-Agent!Firefox",
        "user.agent != Firefox",
        "User-Agent not Firefox",
        "User-Agent NOT Firefox",
        "User-Agent misses Firefox",
        "User-Agent is not Firefox",
        "not User-Agent == Firefox",
        "NOT User-Agent == Firefox",
        "! User-Agent == Firefox",
        "not(User-Agent == Firefox)",
    ];
    check(&negated, &[CHROME, SAFARI, NOTHING, "User-Agent: firefox"], &[FIREFOX]);
}

#[test]
fn known_user_agents_stand_for_their_marks() {
    check(&["user-agent == safari"], &[SAFARI], &[CHROME, FIREFOX, NOTHING]);
    check(&["user-agent != Safari"], &[CHROME, FIREFOX, NOTHING], &[SAFARI]);
    check(&["user-agent == chrome"], &[CHROME], &[SAFARI, NOTHING]);
    check(&["user-agent == ie"], &["User-Agent: x MSIE 9"], &["User-Agent: Trident/7.0 rv:11", "User-Agent: IE"]);
    check(&["user-agent == Edge"], &["User-Agent: Edge/18"], &["User-Agent: Edg/120"]);
}

#[test]
fn other_user_agents_are_found_as_a_part() {
    check(&["user-agent == Android"], &["User-Agent: Linux; Android 9"], &["User-Agent: android", NOTHING]);
    check(
        &["user-agent == 'Linux; (Android'", "user-agent = \"Linux; (Android\""],
        &["User-Agent: Linux; (Android 9)"],
        &["User-Agent: Linux Android"],
    );
    check(&["user-agent == 'a''b'"], &["User-Agent: a'b"], &["User-Agent: a''b"]);
    check(&["user-agent in (curl/8.1, 'my agent')"], &["User-Agent: my agent"], &["User-Agent: curl/8.10"]);
    check(&["user-agent starts curl/"], &["User-Agent: curl/8.1"], &["User-Agent: libcurl/8", NOTHING]);
    check(
        &["user-agent == a and user-agent != b", "user-agent == a and not user-agent == b"],
        &["User-Agent: cat"],
        &["User-Agent: cab", "User-Agent: cob", NOTHING],
    );
}

#[test]
fn a_host_is_equal_without_case_and_without_a_port_that_is_not_named() {
    let texts = [
        "host == localhost",
        "host = localhost",
        "host==localhost",
        "host is localhost",
        "host has localhost",
        "host contains localhost",
        "hosthas localhost",
        "Host == LocalHost",
        "(host == localhost)",
        "host in (localhost)",
        "not host != localhost",
        "!!host is localhost",
        "<req.hdr(host) localhost>",
        "<hdr(host) -i localhost>",
    ];
    let yes = ["Host: localhost", "Host: LOCALHOST", "Host: localhost:21002"];
    let no = ["Host: local", "Host: localhost.org", "Host: localhost:21002x", NOTHING];
    check(&texts, &yes, &no);
    let negated = [
        "host != localhost",
        "host not localhost",
        "host misses localhost",
        "hostmisses localhost",
        "! host is localhost",
        "not host is localhost",
        "host is not localhost",
        "host not in (localhost)",
        "host is not in (localhost)",
        "host not has localhost",
    ];
    check(&negated, &no, &yes);
    check(&["host == localhost:80"], &["Host: localhost:80"], &["Host: localhost", "Host: localhost:8080"]);
    check(&["host == '[::1]'"], &["Host: [::1]", "Host: [::1]:80"], &["Host: [::2]:80"]);
    check(&["host starts api."], &["Host: API.example.org:80"], &["Host: www.example.org"]);
    check(&["host ends .example.org"], &["Host: a.Example.org:80"], &["Host: example.org"]);
    check(&["host ends :80"], &["Host: a:80"], &["Host: a", "Host: a:8080"]);
    check(&["host matches ^a[0-9]+$", "host matches :8$"], &["Host: A12:8"], &["Host: ab", NOTHING]);
    check(&["host in (a, b:80, C)"], &["Host: a:1", "Host: b:80", "Host: c"], &["Host: b", "Host: b:81"]);
}

#[test]
fn values_that_are_words_of_the_language_stay_values() {
    check(&["host is not"], &["Host: not"], &["Host: is"]);
    check(&["host is not and host is not"], &["Host: not"], &["Host: and"]);
    check(&["(host is not)"], &["Host: not"], &[NOTHING]);
    check(&["host == and and host == and"], &["Host: and"], &[NOTHING]);
    check(&["host not in or host is x"], &["Host: x", "Host: y"], &["Host: in"]);
    check(&["has cookie a&b"], &["Cookie: a&b=1"], &["Cookie: a=1"]);
    check(&["header x has x=1&y"], &["X: ax=1&yb"], &["X: x=1"]);
    check(&["header has has has"], &["has: it has"], &[NOTHING]);
    check(&["header is is is"], &["is: is"], &["is: not"]);
}

#[test]
fn presence_is_told_in_every_old_spelling() {
    check(
        &["has header vamp", "contains header vamp", "Has Header vamp", "Contains Header VAMP", "! misses header vamp"],
        &["Vamp: 1", "vamp: "],
        &["Vamp2: 1", "Cookie: vamp=1", NOTHING],
    );
    check(&["misses header vamp", "Misses Header vamp", "not has header vamp"], &[NOTHING], &["VAMP: 1"]);
    check(
        &["has cookie vamp", "Has Cookie vamp", "contains cookie vamp", "Contains Cookie vamp"],
        &["Cookie: vamp=1", "Cookie: a=2; vamp=", "Cookie: a=1|Cookie: vamp=2"],
        &["Cookie: Vamp=1", "Cookie: a=vamp", "Cookie: vamp", "Vamp: 1", NOTHING],
    );
    check(&["misses cookie vamp", "Misses Cookie vamp"], &[NOTHING, "Cookie: vamps=1"], &["Cookie: vamp=1"]);
    check(&["has query page"], &["GET /?page", "GET /?a=1&page=2"], &["GET /page", "GET /?apage=1", "GET /?Page="]);
}

#[test]
fn parts_of_values_are_found() {
    let yes = ["vamp: a12345b", "Vamp: no|VAMP: 12345", "vamp: 1, 12345"];
    let no = ["vamp: 1234", "other: 12345", NOTHING];
    check(&["header vamp has 12345", "header vamp contains 12345", "HEADER vamp HAS 12345"], &yes, &no);
    check(&["header vamp misses 12345", "header vamp not has 12345"], &no, &yes);
    let yes = ["Cookie: vamp=a12345b", "Cookie: a=1; vamp=12345"];
    let no = ["Cookie: vamp=1234; b=12345", "Cookie: VAMP=12345", NOTHING];
    check(&["cookie vamp has 12345", "cookie vamp contains 12345"], &yes, &no);
    check(&["cookie vamp misses 12345"], &no, &yes);
    check(&["header vamp has v", "header 'vamp' has 'v'"], &["vamp: ava"], &["vamp: V"]);
}

#[test]
fn headers_cookies_and_parameters_are_compared_with_every_operator() {
    check(
        &["header n == v", "header n is v", "header n=v", "header n==v", "header n = 'v'", "header n in (v)"],
        &["N: v", "n: x|N: v"],
        &["N: vv", "N: V", NOTHING],
    );
    check(&["header n != v", "header n!=v", "header n is not v", "header n not v"], &[NOTHING, "n: w"], &["n: v"]);
    check(&["cookie n == v", "cookie n==v"], &["Cookie: n=v"], &["Cookie: n=vv", "Cookie: N=v"]);
    check(&["cookie n != v", "(cookie n != v)"], &[NOTHING, "Cookie: n=w"], &["Cookie: n=v"]);
    check(&["query q == v"], &["GET /?q=v", "GET /?q=w&q=v"], &["GET /?q=V", "GET /", "GET /?qq=v"]);
    check(&["query q in (a, b)"], &["GET /?q=b"], &["GET /?q=c"]);
    check(&["header n starts a or header n ends z"], &["n: ab", "n: yz"], &["n: za"]);
    check(&["header n matches '^(a|b)+$'"], &["n: abab"], &["n: abc"]);
    check(&["header n under /a"], &["n: /a", "n: /a/b"], &["n: /ab"]);
    check(&["header n == \"\""], &["n: "], &["n: a", NOTHING]);
}

#[test]
fn paths_methods_and_sources_are_compared() {
    check(&["path == /a", "path is /a", "path = /a"], &["GET /a", "GET /a?b=/c"], &["GET /A", "GET /a/", "GET /"]);
    check(
        &["path under /api", "path under /api/"],
        &["GET /api", "GET /api/", "GET /api/x?y"],
        &["GET /apis", "GET /v1/api"],
    );
    check(&["path under /"], &["GET /", "GET /a/b"], &["OPTIONS *"]);
    check(&["path starts /a", "path matches ^/a"], &["GET /ab"], &["GET /b/a"]);
    check(&["path ends .png"], &["GET /a.png?x"], &["GET /a.png/b"]);
    check(&["path has b"], &["GET /abc"], &["GET /a?b"]);
    check(&["path in (/a, /b)", "(path == /a || path == /b)"], &["GET /b"], &["GET /c"]);
    check(&["path == /a%20b"], &["GET /a%20b"], &["GET /a b"]);
    check(&["method == POST", "method in (POST)", "method is POST"], &["POST /"], &["GET /", "post /"]);
    check(&["method != POST"], &["GET /"], &["POST /"]);
    let yes = ["GET / | from 10.1.2.3", "GET / | from ::ffff:10.1.2.3"];
    let no = ["GET / | from 11.1.2.3", "GET / | from ::1"];
    check(&["source in 10.0.0.0/8", "source == 10.0.0.0/8", "source in (10.0.0.0/8)", "source is 10.1.2.3"], &yes, &no);
    check(&["source not in 10.0.0.0/8", "source != 10.1.2.3"], &no, &yes);
    check(&["source in (192.168.0.0/16, ::1)"], &["GET / | from ::1"], &["GET / | from 10.1.2.3"]);
    check(&["source starts 10.1. and source ends .3 and source has .2."], &yes, &no);
}

#[test]
fn and_binds_tighter_than_or() {
    let yes = ["a: 1", "b: 1|c: 1", "a: 1|b: 1"];
    let no = ["b: 1", "c: 1", NOTHING];
    let texts = [
        "has header a or has header b and has header c",
        "has header a OR has header b AND has header c",
        "has header a || has header b && has header c",
        "has header a | has header b & has header c",
        "has header a or (has header b and has header c)",
        "(has header a)OR((has header b)AND(has header c))",
        "(has header a)or((has header b)and(has header c))",
        "(has header a)||((has header b)&&(has header c))",
        "(has header a)or (has header b) and has header c",
        "has header a\nor\thas header b\r\nand has header c\n",
        "<hdr_cnt(a) gt 0>|| <hdr_cnt(b) gt 0>and<hdr_cnt(c) gt 0>",
    ];
    check(&texts, &yes, &no);
    check(
        &["(has header a or has header b) and has header c"],
        &["a: 1|c: 1", "b: 1|c: 1"],
        &["a: 1", "c: 1", "a: 1|b: 1"],
    );
    check(
        &["not (has header a or has header b)", "!(has header a or has header b)", "NOT(has header a OR has header b)"],
        &[NOTHING],
        &["a: 1", "b: 1"],
    );
}

#[test]
fn the_cases_of_the_old_tests_mean_what_they_meant() {
    let (a, b) = ("GET /a", "GET /b");
    check(&["<path /a> or <path /b>", "<path /a>||<path /b>"], &[a, b], &["GET /c"]);
    check(&["not <path /a> and user-agent != Chrome"], &[b], &[a, CHROME]);
    check(&["not <path /a> or user-agent != Chrome"], &[a, b, CHROME], &[&format!("GET /a|{CHROME}")]);
    check(
        &["(User-Agent = Chrome OR User-Agent = Firefox) AND has cookie vamp"],
        &[&format!("{FIREFOX}|Cookie: vamp=1"), &format!("{CHROME}|Cookie: vamp=1")],
        &[FIREFOX, CHROME, &format!("{SAFARI}|Cookie: vamp=1")],
    );
    let bare = ["hdr_sub(user-agent) Android", "< hdr_sub(user-agent) Android >", "<hdr_sub(user-agent) Android>"];
    check(&bare, &["User-Agent: Linux; Android 9"], &["User-Agent: android", NOTHING]);
    let blanks = ["<path /a>", "< path /a>", "< path /a >", " <path /a>", "<path /a> ", "  <  path  /a  > "];
    check(&blanks, &[a], &[b]);
    // The old compiler lost the cookie of this one when it flattened it.
    check(
        &["user-agent != safari and user-agent = chrome and cookie group contains admin and has header x-allow"],
        &[&format!("{CHROME}|Cookie: group=admins|X-Allow: 1")],
        &[CHROME, &format!("{CHROME}|X-Allow: 1"), &format!("{SAFARI}|Cookie: group=admins|X-Allow: 1")],
    );
}

#[test]
fn what_the_old_builder_writes_has_its_obvious_meaning() {
    check(&["(host == v)", "((host == v))"], &["Host: v"], &["Host: w"]);
    check(&["(host == a)OR(host == b)", "(host == a) OR (host == b)"], &["Host: b"], &["Host: c"]);
    check(&["(host != a)AND(host != b)"], &["Host: c"], &["Host: b"]);
    check(&["<req.hdr(host) -m beg v.>"], &["Host: v.org"], &["Host: w.v.org"]);
    check(&["<req.hdr(host) -m end .v>"], &["Host: a.v", "Host: a.v:80"], &["Host: v.a"]);
    check(&["<req.hdr(host) -m sub v>"], &["Host: avb"], &["Host: ab"]);
    check(&["<!req.hdr(host) -m beg v>", "<! req.hdr(host) -m beg v>"], &["Host: w", NOTHING], &["Host: vw"]);
    check(&["(has header v) AND (misses cookie c)"], &["v: 1"], &["v: 1|Cookie: c=1"]);
    check(&["<req.fhdr(n) -m v>", "<req.fhdr(n) -m str v>"], &["n: v"], &["n: vv", NOTHING]);
    check(&["<req.fhdr(n) -m beg>"], &["n: beg"], &["n: begin"]);
    check(&["<req.cook(n) -m v>"], &["Cookie: n=v"], &["Cookie: n=vv"]);
    check(&["<req.fhdr(n) -m beg v>"], &["n: vw"], &["n: wv"]);
    check(&["<req.cook(n) -m end v>"], &["Cookie: n=wv"], &["Cookie: n=vw"]);
    check(&["(header n == v)"], &["n: v"], &["n: w"]);
    check(&["(user-agent == v)"], &["User-Agent: avb"], &["User-Agent: w"]);
    check(&["<req.hdr(user-agent) -m beg v>"], &["User-Agent: v1", "User-Agent: a, v1"], &["User-Agent: av"]);
    let (inside, outside) = (["GET / | from 10.1.1.1"], ["GET / | from 11.1.1.1"]);
    check(&["<network_allowed src 10.0.0.0/8 192.168.0.0/16>"], &inside, &outside);
    check(
        &["<req.fhdr(X-Forwarded-For) -m ip 10.0.0.0/8>"],
        &["X-Forwarded-For: 10.1.1.1", "X-Forwarded-For: 1.1.1.1, 10.1.1.1"],
        &["X-Forwarded-For: 1.1.1.1", "X-Forwarded-For: x", NOTHING],
    );
    check(
        &["<network_allowed src 10.0.0.0/8 or req.fhdr(X-Forwarded-For) -m ip 10.0.0.0/8>"],
        &["GET / | from 10.1.1.1", "GET / | from 1.1.1.1 | X-Forwarded-For: 10.1.1.1"],
        &["GET / | from 1.1.1.1 | X-Forwarded-For: 1.1.1.1"],
    );
}

#[test]
fn acls_of_the_subset_mean_what_they_mean_to_the_proxy() {
    check(&["<path_beg /api>", "path_beg /api", "<path -m beg /api>"], &["GET /apis"], &["GET /API", "GET /v/api"]);
    check(&["<path_beg -i /api>", "<path -i -m beg /api>"], &["GET /API/x"], &["GET /v/api"]);
    check(&["<path_beg /a /b>"], &["GET /ax", "GET /bx"], &["GET /c"]);
    check(&["<path_end .png -i>"], &["GET /x-i"], &["GET /a.PNG"]);
    check(&["<path_end -i .png .gif>"], &["GET /a.PNG", "GET /b.gif"], &["GET /a.jpg"]);
    check(&["<path_sub -i ADM>"], &["GET /x/Admin"], &["GET /ad"]);
    check(&[r"<path_reg ^/a\.html$>", r"<path_reg '^/a\.html$'>"], &["GET /a.html"], &["GET /aXhtml"]);
    check(&["<path_reg -i ^/a>"], &["GET /A"], &["GET /b"]);
    check(&["<path_dir api>", "<path_dir /api/>"], &["GET /v1/api/x", "GET /api"], &["GET /apis", "GET /xapi/"]);
    check(&["<path_dir v1/api>"], &["GET /a/v1/api"], &["GET /v1/b/api"]);
    check(&["<url_beg /2>", "< url_beg /2 >", "url_beg /2"], &["GET /2", "GET /2?a"], &["GET /1/2"]);
    check(&["<url_sub b=1>", "<url_reg b=[1]>"], &["GET /?a&b=1"], &["GET /b?=1"]);
    check(&["<url /a?b>"], &["GET /a?b"], &["GET /a", "GET /a?b&c"]);
    check(&["<url_end x>"], &["GET /x", &format!("GET /{}?{}x", "a".repeat(999), "b".repeat(999))], &["GET /x?y"]);
    check(&["<method GET>", "method GET", "<method GET HEAD>"], &["GET /"], &["POST /"]);
    check(&["<src 10.0.0.0/8>", "src 10.0.0.0/255.0.0.0"], &["GET / | from 10.2.2.2"], &["GET / | from 1.1.1.1"]);
    check(&["<src 1.1.1.1 ::1>", "src 1.1.1.1,::1"], &["GET / | from ::1"], &["GET / | from ::2"]);
    check(&["<hdr(x) b>"], &["x: a, b", "x: b"], &["x: a b", "x: B"]);
    check(&["<hdr(x) -i b c>"], &["x: a, B", "X: C"], &["x: d"]);
    check(&["<req.fhdr(x) -m str 'a, b'>", r"<req.fhdr(x) a,\ b>"], &["x: a, b"], &["x: a", "x: b"]);
    check(&["<hdr_cnt(x) gt 1>", "<req.hdr_cnt(x) 2>"], &["x: a, b", "x: a|x: b"], &["x: a", NOTHING]);
    check(&["<hdr_cnt(x) gt 0>", "<hdr_cnt(x) ge 1>", "<hdr(x) -m found>"], &["x: a", "x: a,b"], &[NOTHING]);
    check(&["<hdr_cnt(x) eq 0>", "<hdr_cnt(x) lt 1>", "<!hdr(x) -m found>"], &[NOTHING], &["x: a"]);
    check(&["<hdr_cnt(x) le 1>"], &["x: a", NOTHING], &["x: a, b"]);
    check(&["<hdr_cnt(host) gt 0>", "<hdr(host) -m found>"], &["Host: a"], &[NOTHING]);
    check(&["<hdr_beg(host) www.>", "<hdr_beg(host) -i WWW.>"], &["Host: www.a.org"], &["Host: a.www.org"]);
    check(&["<cook(x) 1>", "<req.cook(x) -m str 1>"], &["Cookie: x=1"], &["Cookie: x=2"]);
    check(&["<cook_sub(x) 1>", "<req.cook_sub(x) 1>"], &["Cookie: x=212"], &["Cookie: x=2"]);
    check(&["<req.cook(x) -m found>", "<cook_cnt(x) gt 0>"], &["Cookie: x=212"], &["Cookie: y=2"]);
    check(&["<urlp(x) 1>", "<url_param(x) 1>"], &["GET /?x=1"], &["GET /?x=2"]);
    check(&["<urlp_beg(x) 1>", "<urlp(x) -m beg -- 1>"], &["GET /?x=12"], &["GET /?x=2"]);
    check(&["<always_true>", "always_true", "<!always_false>", "<path -m found>"], &[NOTHING], &[]);
    check(&["<always_false>", "not <always_true>"], &[], &[NOTHING]);
    check(&[r#"<req.fhdr(x) -m sub "a\"\x3cb">"#], &["x: 1a\"<b"], &["x: a"]);
    check(&["<req.fhdr(x) -m sub 'or'>", "<req.fhdr(x) -m sub -- -i 'or'>"], &["x: for-i"], &["x: a"]);
}

/// `text` is refused at the character `position`, in a message that has `part`.
#[track_caller]
fn refuses(text: &str, position: usize, part: &str) {
    let error = Condition::parse(text).expect_err(text);
    assert!(error.to_string().contains(part), "`{text}`: {error}");
    assert_eq!(error.position, position, "`{text}`: {error}");
    assert!(!error.hint.is_empty() && !error.message.is_empty(), "`{text}`: {error}");
}

#[test]
fn faults_are_found_where_they_are() {
    refuses("", 1, "empty");
    refuses("  \n ", 1, "empty");
    refuses("host", 5, "compared with nothing");
    refuses("host ==", 8, "is missing");
    refuses("host == a or", 13, "missing at the end");
    refuses("host == a host == b", 11, "`host` can't follow");
    refuses("(host == a", 1, "not closed");
    refuses("(host == a host == b)", 12, "can't follow");
    refuses("host == a)", 10, "closes nothing");
    refuses("()", 2, "before `)`");
    refuses("host == 'a", 9, "not closed");
    refuses("ünknown == 'a'", 1, "begins no test");
    refuses("host == 'ü' and wrong == a", 17, "`wrong` begins no test");
    refuses("hostname == a", 1, "`hostname` begins no test");
    refuses("User-Agent = = x", 16, "`x` can't follow");
    refuses("path like /a", 6, "`like` is no operator");
    refuses("method alike GET", 8, "`alike` is no operator");
    refuses("path is (/a)", 9, "can't begin with `(`");
    refuses("path in /a", 9, "not followed by a list");
    refuses("path in (/a", 9, "not closed");
    refuses("path in ()", 10, "value of the list is missing");
    refuses("path in (/a,)", 13, "value of the list is missing");
    refuses("path in (/a /b)", 13, "commas");
    refuses("has", 1, "not followed by");
    refuses("has host x", 1, "not followed by");
    refuses("has header", 11, "no name");
    refuses("has header ''", 12, "no name");
    refuses("header", 7, "no name");
    refuses("source == example.org", 11, "no address");
    refuses("source in (10.0.0.0/8, 10.0.0.0/33)", 24, "no address");
    refuses("host under example.org", 12, "does not fit");
    refuses("path matches '('", 14, "unclosed group");
    refuses("path matches '(?=a)'", 14, "look-around");
    refuses("{ path_beg /a }", 1, "`< >`");
    refuses("host == a\u{1}", 10, "control character");
}

#[test]
fn acls_beyond_the_subset_are_refused() {
    refuses("<path /a", 1, "not closed");
    refuses("<>", 2, "is empty");
    refuses("<water ⇒ ice>", 2, "`water` is not known");
    refuses("host == a and < ssl_fc >", 17, "`ssl_fc` is not known");
    refuses("<path_len gt 3>", 2, "`path_len` is not known");
    refuses("<hdr_dom(host) a>", 2, "not known");
    refuses("<src_conn_rate gt 3>", 2, "not known");
    refuses("<path>", 2, "no value");
    refuses("<hdr -i a>", 2, "no name");
    refuses("<hdr(a,1) b>", 2, "no name");
    refuses("hdr(a>b) c", 1, "no name");
    refuses("<hdr(a\\'b) c>", 2, "no name");
    refuses("<path(a) b>", 2, "in parentheses");
    refuses("<path -f /etc/passwd>", 7, "flag `-f`");
    refuses("<path_beg /a or path_beg /b>", 14, "`or` does not join");
    refuses("hdr_sub(user-agent) Android or host == x", 29, "`or` does not join");
    refuses("<hdr_cnt(x) gt>", 2, "no number");
    refuses("<hdr_cnt(x) gt many>", 16, "`many` is no number");
    refuses("<src 10.0.0.0/8 example.org>", 17, "no address");
    refuses("<src ,>", 6, "no address");
    refuses("<path 'a>", 7, "not closed");
    refuses("<path_reg (>", 11, "unclosed group");
    refuses("<path_dir />", 11, "segment is empty");
}

#[test]
fn a_share_by_chance_is_refused_with_its_mend() {
    refuses("<rand(100) lt 10>", 2, "condition_strength");
    refuses("rand(100) lt 10", 1, "condition_strength");
    refuses("user-agent == Firefox and < rand(100) lt 10 >", 29, "condition_strength");
}

#[test]
fn texts_without_end_are_refused() {
    let open = "(".repeat(10_000);
    refuses(&open, 65, "parentheses are open");
    refuses(&format!("{}host == a{}", "(".repeat(8_000), ")".repeat(8_000)), 65, "are open");
    let deep = format!("{}host == a{}", "(".repeat(64), ")".repeat(64));
    check(&[&deep], &["Host: a"], &[NOTHING]);
    check(&[&format!("{}host == a", "!".repeat(10_000))], &["Host: a"], &[NOTHING]);
    refuses(&"a".repeat(20_000), 1, "bytes");
    refuses("path matches '((a{100}){100}){100}'", 14, "too large");
    let many = vec!["path matches a"; 33].join(" or ");
    refuses(&many, 590, "more than 32 regular expressions");
    let list = format!("path in ({})", vec!["a"; 1_001].join(","));
    refuses(&list, 2_010, "more than 1000 values");
    let nested = format!("path matches '{}a{}'", "(".repeat(2_000), ")".repeat(2_000));
    refuses(&nested, 14, "can't be used");
}

#[test]
fn prints_are_the_languages_own_words_where_it_has_them() {
    let printed = |text: &str| Condition::parse(text).unwrap().to_string();
    assert_eq!(printed("User-Agent==Firefox"), "user-agent is Firefox");
    assert_eq!(printed("Host != LocalHost"), "not host is localhost");
    assert_eq!(printed("( has header a)AND(<path_beg /a /b>)"), "has header a and (path starts /a or path starts /b)");
    assert_eq!(printed("path in (/b, '/a b')"), "path in (\"/a b\", /b)");
    assert_eq!(printed("<hdr(x) -i 'or' b>"), "<req.hdr(x) -i -m str -- b \"or\">");
    assert_eq!(printed("<req.hdr_cnt(x) gt 2>"), "<req.hdr_cnt(x) gt 2>");
}
