/** The frame of a page: one HTML file without network or other files. */
import { createHash } from 'node:crypto'

export interface Section {
  readonly id: string
  /** As HTML. */
  readonly title: string
  /** As HTML. Empty: the page does not have the section. */
  readonly inside: string
}

/** The parts of a page. All but `style` and `script` are HTML, with its texts escaped. */
export interface Frame {
  readonly title: string
  readonly style: string
  readonly script: string
  /** Below the title. */
  readonly head: string
  readonly sections: readonly Section[]
  /** Elements with the data that the script reads. */
  readonly data: string
}

const sourceHash = (text: string): string => `'sha256-${createHash('sha256').update(text).digest('base64')}'`

/** The page. Its content security policy allows only its own script and style. */
export function framed({ title, style, script, head, sections, data }: Frame): string {
  const shown = sections.filter(({ inside }) => inside !== '')
  const links = shown.map((one) => `<a href="#${one.id}">${one.title}</a>`)
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; script-src ${sourceHash(script)}; style-src ${sourceHash(style)}; base-uri 'none'; form-action 'none'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="referrer" content="no-referrer">
<title>${title}</title>
<style>${style}</style>
</head>
<body>
<header><div><h1>${title}</h1>
${head}<nav aria-label="sections">${links.join('')}</nav></div></header>
<main>
${shown.map((one) => `<section id="${one.id}"><h2>${one.title}</h2>${one.inside}</section>`).join('\n')}
</main>
${data}
<script>${script}</script>
</body>
</html>
`
}
