package main

import (
	"cmp"
	"encoding/xml"
	"fmt"
	"math"
	"slices"
	"strings"
)

// The plots are SVG written by hand: small, without a background, and with colours that follow the reader's light or dark mode. What a bar or a
// line is stands beside it, so that there is no legend to look up.

const plotStyle = `<style>
text{font:12px system-ui,-apple-system,"Segoe UI",Helvetica,Arial,sans-serif;fill:#1f2328}
.title{font-size:14px;font-weight:600}.sub{font-weight:600}.dim{fill:#59636e}.end{text-anchor:end}.mid{text-anchor:middle}
.peer{fill:#b4bcc5}.limit{fill:#59636e}.loop{fill:#0969da}.ours{fill:#8250df}
path,line{fill:none}.grid{stroke:#d1d9e0}path.peer{fill:none;stroke:#8c959f}path.limit{fill:none;stroke:#59636e;stroke-dasharray:5 4}
path.loop{fill:none;stroke:#0969da;stroke-width:2.5}path.ours{fill:none;stroke:#8250df;stroke-width:2.5}
text.peer{fill:#59636e}
@media(prefers-color-scheme:dark){text{fill:#e6edf3}.dim,text.peer{fill:#9198a1}.peer{fill:#4b535d}.limit,text.limit{fill:#9198a1}.loop{fill:#4493f8}.ours{fill:#ab7df8}
.grid{stroke:#3d444d}path.peer{stroke:#656c76}path.limit{stroke:#9198a1}path.loop{stroke:#4493f8}path.ours{stroke:#ab7df8}}
</style>`

// class returns how a server is drawn: anteroom's two uses stand out, and so does the limit.
func class(server string) string {
	switch server {
	case "anteroom-loop", "loop-callbacks":
		return "loop"
	case "anteroom":
		return "ours"
	case "c-epoll":
		return "limit"
	}
	return "peer"
}

// A drawing gathers the elements of an SVG.
type drawing struct {
	strings.Builder
	width, height float64
}

func escaped(s string) string {
	var b strings.Builder
	xml.EscapeText(&b, []byte(s)) // a Builder takes everything
	return b.String()
}

func (d *drawing) text(x, y float64, class, s string) {
	fmt.Fprintf(d, "<text x=\"%.5g\" y=\"%.5g\" class=\"%s\">%s</text>\n", x, y, class, escaped(s))
}

func (d *drawing) svg(title string) string {
	return fmt.Sprintf("<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %.5g %.5g\" width=\"%.5g\" height=\"%.5g\" role=\"img\">\n<title>%s</title>\n%s\n%s</svg>\n",
		d.width, d.height, d.width, d.height, escaped(title), plotStyle, d.String())
}

// A panel is bars for one question.
type panel struct {
	title string
	bars  []plotBar
}

type plotBar struct {
	server string
	value  float64
	label  string
}

// barPlot draws panels in columns, the shortest bar first; a bar with → is cut. It returns "" if there is nothing to draw.
func barPlot(title, subtitle string, panels []panel) string {
	panels = slices.DeleteFunc(panels, func(p panel) bool { return len(p.bars) == 0 })
	if len(panels) == 0 {
		return ""
	}
	const (
		columns = 2
		width   = 400
		row     = 18
		names   = 105
		length  = 215
		top     = 56
	)
	d := &drawing{width: width * float64(min(columns, len(panels)))}
	d.text(8, 20, "title", title)
	d.text(8, 38, "dim", subtitle)
	y := float64(top)
	for i, p := range panels {
		x := float64(i%columns) * width
		if i%columns == 0 && i > 0 {
			y = d.height
		}
		slices.SortStableFunc(p.bars, func(a, b plotBar) int { return cmp.Compare(a.value, b.value) })
		d.text(x+8, y+14, "sub", p.title)
		// One that needs many times as much as the rest must not make all others dots: its bar is cut.
		middle := p.bars[len(p.bars)/2].value
		longest := 0.0
		for _, b := range p.bars {
			if b.value <= 4*middle {
				longest = b.value
			}
		}
		for k, b := range p.bars {
			at := y + 24 + float64(k)*row
			c := class(b.server)
			d.text(x+names, at+12, "end "+c, b.server)
			w, label := 1.0, b.label
			if longest > 0 && b.value > 0 {
				w = max(1, length*min(1, b.value/longest))
			}
			if b.value > longest {
				label = "→ " + label
			}
			fmt.Fprintf(d, "<rect x=\"%.5g\" y=\"%.5g\" width=\"%.4g\" height=\"%d\" rx=\"2\" class=\"%s\"/>\n", x+names+6, at+1, w, row-4, c)
			d.text(x+names+12+w, at+12, "dim", label)
		}
		d.height = max(d.height, y+24+float64(len(p.bars))*row+14)
	}
	return d.svg(title)
}

// A line is one server's figures over a growing number.
type line struct {
	server string
	xs, ys []float64
}

// linePlot draws lines on logarithmic axes. It returns "" if there is nothing to draw.
func linePlot(title, subtitle, below string, lines []line) string {
	lines = slices.DeleteFunc(lines, func(l line) bool { return len(l.xs) < 2 })
	if len(lines) == 0 {
		return ""
	}
	const left, right, top, bottom = 44, 690, 56, 380
	low, high := math.Inf(1), math.Inf(-1)
	from, to := math.Inf(1), math.Inf(-1)
	for _, l := range lines {
		low, high = min(low, slices.Min(l.ys)), max(high, slices.Max(l.ys))
		from, to = min(from, slices.Min(l.xs)), max(to, slices.Max(l.xs))
	}
	low, high = low/1.1, high*1.1
	x := func(v float64) float64 { return left + (right-left)*math.Log(v/from)/math.Log(to/from) }
	y := func(v float64) float64 { return bottom - (bottom-top)*math.Log(v/low)/math.Log(high/low) }
	d := &drawing{width: 800, height: 426}
	d.text(8, 20, "title", title)
	d.text(8, 38, "dim", subtitle)
	for decade := math.Pow(10, math.Floor(math.Log10(low))); decade <= high; decade *= 10 {
		for _, m := range []float64{1, 2, 5} {
			if v := decade * m; v >= low && v <= high {
				fmt.Fprintf(d, "<line x1=\"%d\" x2=\"%d\" y1=\"%.4g\" y2=\"%.4g\" class=\"grid\"/>\n", left, right, y(v), y(v))
				d.text(left-6, y(v)+4, "end dim", fmt.Sprintf("%g", v))
			}
		}
	}
	for v := from; v <= to*1.001; v *= 10 {
		d.text(x(v), bottom+18, "mid dim", thousands(v))
	}
	d.text((left+right)/2, bottom+38, "mid dim", below)
	// Peers first, so that ours lie above.
	slices.SortStableFunc(lines, func(a, b line) int { return cmp.Compare(rank(a.server), rank(b.server)) })
	type label struct {
		server string
		y      float64
	}
	var labels []label
	for _, l := range lines {
		var path strings.Builder
		for i := range l.xs {
			fmt.Fprintf(&path, "%c%.4g %.4g", "ML"[min(i, 1)], x(l.xs[i]), y(l.ys[i]))
		}
		fmt.Fprintf(d, "<path d=\"%s\" class=\"%s\"/>\n", path.String(), class(l.server))
		labels = append(labels, label{l.server, y(l.ys[len(l.ys)-1])})
	}
	slices.SortFunc(labels, func(a, b label) int { return cmp.Compare(a.y, b.y) })
	at := make([]float64, len(labels))
	for i, l := range labels {
		at[i] = l.y
	}
	spread(at, 14, bottom)
	for i, l := range labels {
		d.text(right+8, at[i]+4, class(l.server), l.server)
	}
	return d.svg(title)
}

func rank(server string) int {
	return slices.Index([]string{"peer", "limit", "ours", "loop"}, class(server))
}

// spread moves ascending places apart until neighbours are gap away from each other, and none is below bottom.
func spread(at []float64, gap, bottom float64) {
	for i := 1; i < len(at); i++ {
		at[i] = max(at[i], at[i-1]+gap)
	}
	for i := len(at) - 1; i >= 0; i-- {
		at[i] = min(at[i], bottom)
		bottom = at[i] - gap
	}
}

// plots returns the SVG of each plot by its file's name.
func (r *Results) plots() map[string]string {
	all := make(map[string]string)
	add := func(name, svg string) {
		if svg != "" {
			all[name+".svg"] = svg
		}
	}
	for _, t := range r.transports() {
		var panels []panel
		for _, m := range measures {
			if m.load == "idle" || slices.Contains([]string{"echo10", "stream1"}, m.name) {
				continue
			}
			p := panel{title: m.name + ": " + m.about}
			for _, s := range r.Servers {
				if f := r.figure(t, m.name, s.Name, cpu); f.ok() {
					p.bars = append(p.bars, plotBar{s.Name, f.median, significant(f.median/1e3) + " µs"})
				}
			}
			panels = append(panels, p)
		}
		add("cpu-"+t, barPlot("Server CPU per operation, "+transportName(t), "shorter is better; c-epoll is the limit; bars with → are cut", panels))

		var lines []line
		for _, s := range r.Servers {
			l := line{server: s.Name}
			for _, name := range echoes {
				m, _ := findMeasure(name)
				if f := r.figure(t, name, s.Name, cpu); f.ok() && f.median > 0 {
					l.xs = append(l.xs, float64(m.conns))
					l.ys = append(l.ys, f.median/1e3)
				}
			}
			lines = append(lines, l)
		}
		add("echo-"+t, linePlot("Server CPU per 64-byte echo, "+transportName(t), "µs, lower is better; both axes are logarithmic",
			"connections, each with one message in flight", lines))
	}
	var panels []panel
	for _, t := range r.transports() {
		p := panel{title: transportName(t)}
		for _, s := range r.Servers {
			if f := r.figure(t, "idle", s.Name, rss); f.ok() {
				p.bars = append(p.bars, plotBar{s.Name, f.median, thousands(f.median)})
			}
		}
		panels = append(panels, p)
	}
	add("memory", barPlot("Resident memory of an idle connection, bytes", "shorter is better; the kernel's own memory is not in it", panels))
	return all
}
