// Terminal output, with ANSI colours or without, as an SVG picture.
const [CHARACTER, LINE, MARGIN, WIDTH] = [8.4, 20, 16, 112]
const COLOURS = {
  30: '#484f58',
  31: '#ff7b72',
  32: '#7ee787',
  33: '#e3b341',
  34: '#79c0ff',
  35: '#d2a8ff',
  36: '#56d4dd',
  37: '#e6edf3',
  90: '#8b949e',
  91: '#ff7b72',
  92: '#7ee787',
  93: '#e3b341',
  94: '#79c0ff',
  95: '#d2a8ff',
  96: '#56d4dd',
  97: '#ffffff',
}

const escaped = (text) => text.replace(/[&<>]/g, (mark) => ({ '&': '&amp;', '<': '&lt;', '>': '&gt;' })[mark])

/** Long lines go on in the next, as in a terminal. */
const wrap = (line) => {
  const pieces = []
  let [piece, length] = ['', 0]
  for (const part of line.split(/(\x1b\[[\d;]*m)/)) {
    if (part.startsWith('\x1b')) piece += part
    else
      for (const character of part) {
        if (length === WIDTH) {
          pieces.push(piece)
          ;[piece, length] = ['', 0]
        }
        piece += character
        length++
      }
  }
  return [...pieces, piece]
}

export function svg(text) {
  const lines = text.split('\n').flatMap(wrap)
  const [width, height] = [Math.ceil(WIDTH * CHARACTER + 2 * MARGIN), lines.length * LINE + 2 * MARGIN]
  let style = {}
  const spans = lines.map((line, row) => {
    const prompt = line.startsWith('$ ')
    const parts = line.split(/\x1b\[([\d;]*)m/).map((part, n) => {
      if (n % 2 === 0) return part === '' ? '' : `<tspan${attributes(style)}>${escaped(part)}</tspan>`
      for (const code of part.split(';').map(Number)) style = apply(style, code)
      return ''
    })
    const y = MARGIN + (row + 0.75) * LINE
    return `<text x="${MARGIN}" y="${y}"${prompt ? ' font-weight="bold"' : ''} xml:space="preserve">${parts.join('')}</text>`
  })
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" font-family="ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace" font-size="14" fill="#e6edf3">`,
    `<rect width="${width}" height="${height}" rx="8" fill="#0d1117"/>`,
    ...spans,
    '</svg>',
    '',
  ].join('\n')
}

function apply(style, code) {
  if (code === 0) return {}
  if (code === 1) return { ...style, bold: true }
  if (code === 22) return { ...style, bold: false }
  if (code === 39) return { ...style, colour: undefined }
  return COLOURS[code] ? { ...style, colour: COLOURS[code] } : style
}

const attributes = ({ bold, colour }) => `${colour ? ` fill="${colour}"` : ''}${bold ? ' font-weight="bold"' : ''}`
