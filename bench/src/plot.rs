//! The ratios as a picture: a row for each workload, a bar for each proxy, the quartiles as a line.

use crate::peers::Kind;
use crate::report::Run;
use crate::statistics::quantile;

const WIDTH: f64 = 900.0;
/// Where bars start, and how long the longest is.
const LEFT: f64 = 260.0;
const LONGEST: f64 = WIDTH - LEFT - 90.0;
const BAR: f64 = 16.0;
const GAP: f64 = 22.0;
const TOP: f64 = 48.0;

/// An SVG document.
pub(crate) fn ratios(run: &Run) -> String {
    let peers = run.peers();
    let rows: Vec<_> = run.workloads();
    let all = rows.iter().flat_map(|row| peers.iter().map(|peer| run.ratios(*peer, *row)));
    let most = all.filter_map(|values| quantile(&values, 0.75)).fold(1.0, f64::max);
    let x = |ratio: f64| LEFT + ratio / most * LONGEST;
    let mut body = String::new();
    let mut y = TOP;
    for row in rows {
        text(&mut body, LEFT - 10.0, y + BAR, "end", "bold", row.words());
        for peer in &peers {
            let values = run.ratios(*peer, row);
            let at = |share| quantile(&values, share);
            let (Some(lower), Some(median), Some(upper)) = (at(0.25), at(0.5), at(0.75)) else { continue };
            element(
                &mut body,
                &format!(
                    "rect x=\"{LEFT:.1}\" y=\"{y:.1}\" width=\"{:.1}\" height=\"{BAR:.1}\" fill=\"{}\"",
                    x(median) - LEFT,
                    colour(*peer)
                ),
            );
            let middle = y + BAR / 2.0;
            element(
                &mut body,
                &format!(
                    "line x1=\"{:.1}\" x2=\"{:.1}\" y1=\"{middle:.1}\" y2=\"{middle:.1}\" stroke=\"#222\"",
                    x(lower),
                    x(upper)
                ),
            );
            text(&mut body, x(upper) + 6.0, y + BAR - 3.0, "start", "normal", &format!("{median:.2} {}", peer.name()));
            y += BAR + 2.0;
        }
        y += GAP;
    }
    element(
        &mut body,
        &format!(
            "line x1=\"{0:.1}\" x2=\"{0:.1}\" y1=\"{1:.1}\" y2=\"{2:.1}\" stroke=\"#888\" stroke-dasharray=\"4 3\"",
            x(1.0),
            TOP - 8.0,
            y - GAP + 4.0
        ),
    );
    text(&mut body, 10.0, 24.0, "start", "bold", "CPU per request, HAProxy = 1 (lower is better)");
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{y:.0}\" font-family=\"sans-serif\" \
         font-size=\"13\"><rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>{body}</svg>\n"
    )
}

fn element(body: &mut String, words: &str) {
    body.push_str(&format!("<{words}/>"));
}

fn text(body: &mut String, x: f64, y: f64, anchor: &str, weight: &str, words: &str) {
    let words = words.replace('&', "&amp;").replace('<', "&lt;");
    body.push_str(&format!(
        "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\" font-weight=\"{weight}\">{words}</text>"
    ));
}

fn colour(peer: Kind) -> &'static str {
    match peer {
        Kind::Vamp => "#2a7ab8",
        Kind::Haproxy => "#b8b8b8",
        Kind::Nginx => "#8fae8b",
        Kind::Envoy => "#c9a0c4",
        Kind::Traefik => "#d9b679",
        Kind::Caddy => "#c98f8f",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::run;

    #[test]
    fn the_picture_has_a_bar_for_each_proxy_and_each_element_ends() {
        let picture = ratios(&run());
        assert_eq!(picture.matches("<rect x=").count(), 3);
        let opened = picture.matches('<').count() - picture.matches("</").count();
        assert_eq!(opened, picture.matches("/>").count() + picture.matches("</").count());
        assert!(!picture.contains("NaN"));
    }
}
