/** The models, the recipe's text, and the files of the output. */
import { formatSize } from '../../../../core/sizes.js'
import { layoutText } from '../../../layouts.js'
import type { Lineage } from '../../../types.js'
import type { Colours } from '../data.js'
import { code, digestText, escapeHtml, table } from '../html.js'
import { referenceLink } from '../links.js'
import { bytesOf } from './summary.js'

export function models(lineage: Lineage, colours: Colours): string {
  const rows = Object.entries(lineage.models)
    .sort(([, a], [, b]) => a.index - b.index)
    .map(([name, model]) => [
      `<b class="under c${colours.ofName(name)}">${escapeHtml(name)}</b>`,
      referenceLink(model.reference) +
        (model.revision === undefined ? '' : ` at ${code(model.revision)}`) +
        (model.layouts ? `<br><span class="soft">layout: ${escapeHtml(layoutText(model))}</span>` : ''),
      { number: formatSize(bytesOf(model.files)) },
      model.files
        .map((file) => `<div>${code(file.name)} <span class="soft">${digestText(file.digest)}</span></div>`)
        .join(''),
    ])
  return table(['Name', 'Reference', 'Size', 'Files'], rows)
}

export function recipeText({ recipe }: Lineage): string {
  const lines = recipe.text.replace(/\r?\n$/, '').split(/\r?\n/)
  const set = recipe.set.length > 0 ? `<p>Set on the command line: ${recipe.set.map(code).join(' ')}</p>` : ''
  return `<div class="recipe">${lines.map((line) => `<code>${escapeHtml(line)}</code>`).join('')}</div>${set}`
}

export function outputFiles({ files, dropped }: Lineage['output']): string {
  if (dropped) return '<p>None. The checkpoint was evaluated and not kept.</p>'
  return table(
    ['File', 'Size', 'Digest'],
    files.map((file) => [
      code(file.name),
      { number: formatSize(file.size) },
      digestText(file.digest) + (file.sha256 === undefined ? '' : `<br>${code(file.sha256)}`),
    ]),
  )
}
