/** Colours of models and methods, used in turn: Okabe and Ito's palette for colour-blind readers, and two more. */
const COLOURS = ['#0072b2', '#e69f00', '#009e73', '#cc79a7', '#56b4e9', '#d55e00', '#b8a800', '#8c6bb1']

export const COLOUR_COUNT = COLOURS.length

const GREY = '#8a939b'

const classes = [...COLOURS, GREY]
  .map(
    (colour, index) =>
      `.f${index}{fill:${colour}}.b${index}{background:${colour}}.t${index}{border-bottom:2px solid ${colour}}.m${index}{background:color-mix(in srgb,${colour} 22%,transparent);border-color:${colour}}`,
  )
  .join('\n')

export const STYLE = `:root{color-scheme:light dark;--ink:#1c2024;--soft:#5c6670;--paper:#fff;--panel:#f6f7f9;--line:#d9dee3;--accent:#0b63a5}
@media (prefers-color-scheme:dark){:root{--ink:#e4e7ea;--soft:#98a2ac;--paper:#14171a;--panel:#1c2024;--line:#343a41;--accent:#6db7f2}}
*{box-sizing:border-box}
body{margin:0;background:var(--paper);color:var(--ink);font:15px/1.5 system-ui,sans-serif}
main,header>div{max-width:1180px;margin:0 auto;padding:0 24px}
header{background:var(--panel);border-bottom:1px solid var(--line);padding:24px 0 16px}
h1{font-size:24px;margin:0 0 4px}h2{font-size:18px;margin:36px 0 10px}
.soft,caption{color:var(--soft)}
code,.mono{font-family:ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;font-size:13px;unicode-bidi:isolate;overflow-wrap:anywhere}
a{color:var(--accent)}
nav a{margin-right:16px}
.cards{display:flex;flex-wrap:wrap;gap:12px;margin:16px 0}
.card{background:var(--paper);border:1px solid var(--line);border-radius:8px;padding:8px 16px;min-width:128px}
.card b{display:block;font-size:20px}
.share{width:100%;height:14px;border-radius:7px;display:block}
table{border-collapse:collapse;width:100%}
th,td{text-align:left;vertical-align:top;padding:6px 10px;border-bottom:1px solid var(--line)}
th{font-weight:600;color:var(--soft);white-space:nowrap}
th button{font:inherit;color:inherit;background:none;border:0;padding:0;cursor:pointer}
th[aria-sort=ascending] button::after{content:" ▲"}th[aria-sort=descending] button::after{content:" ▼"}
.number{text-align:right;white-space:nowrap;font-variant-numeric:tabular-nums}
.badge{border:1px solid var(--line);border-radius:10px;padding:1px 8px;font-size:13px;white-space:nowrap}
.bar{display:block;font-size:13px}.track{display:flex;height:8px;max-width:260px;border-radius:4px;overflow:hidden;margin:4px 0}
.track span{height:8px}.track .negative{opacity:.45}
.who{padding-bottom:1px}.reason{display:block;color:var(--soft);font-size:13px}
.name{background:none;border:0;padding:0;color:var(--accent);cursor:pointer;text-align:left}
.detail td{background:var(--panel)}.tree{margin:4px 0;padding-left:18px;list-style:none}.tree .tree{border-left:2px solid var(--line);margin-left:4px}
.tools{display:flex;flex-wrap:wrap;gap:10px;align-items:center;position:sticky;top:0;background:var(--paper);padding:8px 0;z-index:1}
input,select,.tools button{font:inherit;color:inherit;background:var(--panel);border:1px solid var(--line);border-radius:6px;padding:4px 10px}
#search{flex:1;min-width:220px}#search.wrong{border-color:#d55e00}
figure{margin:12px 0;padding:14px;border:1px solid var(--line);border-radius:8px}figcaption{font-size:13px;margin-top:6px}
svg{width:100%;height:auto;display:block}svg text{fill:var(--ink);font:11px system-ui,sans-serif}svg .tick{fill:var(--soft);text-anchor:end;font-size:9px}
svg .layer{fill:var(--soft);text-anchor:middle;font-size:9px}svg line{stroke:var(--line)}.fp{fill:var(--accent)}
.recipe{background:var(--panel);border:1px solid var(--line);border-radius:8px;overflow:auto;padding:10px 0;counter-reset:line}
.recipe code{display:block;white-space:pre;overflow-wrap:normal;padding:0 16px 0 0}
.recipe code::before{counter-increment:line;content:counter(line);display:inline-block;width:44px;margin-right:14px;text-align:right;color:var(--soft)}
.scroll{overflow-x:auto;margin-bottom:14px}td ul,td ol{margin:0;padding-left:20px}
${classes}
@media print{.tools,nav{display:none}}
`
