/** The lineage as one self-contained HTML page. */
import type { Ancestor } from '../../history/types.js'
import type { PathSummary } from '../../path/summary.js'
import type { Lineage } from '../../types.js'
import { SCRIPT, STYLE } from './assets.js'
import { coloursOf, pageData } from './data.js'
import { graphOf } from './drawing/graph.js'
import { graphDrawing } from './drawing/graphDrawing.js'
import { quantitiesOf } from './drawing/quantities.js'
import { framed, type Section } from './frame.js'
import { code, digestText, escapeHtml, scriptJson, scriptLines } from './html.js'
import { short } from './numbers.js'
import { rulesOf } from './rules.js'
import { alignments } from './sections/alignments.js'
import { copies } from './sections/copies.js'
import { curves } from './sections/curves.js'
import { history } from './sections/history.js'
import { models, outputFiles, recipeText } from './sections/inputs.js'
import { layers } from './sections/layers.js'
import { parameters } from './sections/parameters.js'
import { steps } from './sections/steps.js'
import { summary } from './sections/summary.js'
import { tensorTable } from './sections/tensors.js'

export interface PageOptions {
  /** The name of an output that is a folder. */
  readonly folder?: string | undefined
  /** The path of which the output is a point. */
  readonly curve?: PathSummary | undefined
  /** How its inputs were made. */
  readonly ancestors?: readonly Ancestor[]
  /** The page is about the whole path; the lineage is that of one of its points. */
  readonly wholePath?: boolean
}

const section = (id: string, title: string, inside: string): Section => ({ id, title, inside })

/** The output's name. The checkpoints of an interpolation have their own names. */
function nameOf({ files, point, from }: Lineage['output'], { folder, wholePath }: PageOptions): string {
  if (wholePath) return folder ?? from
  return point?.name ?? folder ?? (files.length === 1 ? files[0]!.name : from)
}

function headText(lineage: Lineage, { curve, wholePath }: PageOptions): string {
  const { output } = lineage
  const t = output.point && !wholePath ? ` at t = ${code(short(output.point.t))}` : ''
  const points = wholePath && curve ? `, ${curve.points.length} points` : ''
  return `<p class="soft">from ${code(output.from)}${t}${points} · terge ${escapeHtml(lineage.terge)} · seed ${lineage.seed}</p>`
}

const digests = ({ output, plan, recipe }: Lineage, wholePath: boolean): string =>
  `<dl class="digests">${wholePath ? '' : `<dt>output</dt><dd>${digestText(output.digest)}</dd>`}<dt>plan</dt><dd>${code(plan.digest)}</dd><dt>recipe</dt><dd>${code(recipe.digest)}</dd></dl>`

/**
 * The page, without network or other files. Every text is escaped, and the page's content security policy allows only its own script
 * and style.
 */
export function reportHtml(lineage: Lineage, options: PageOptions = {}): string {
  const colours = coloursOf(lineage)
  const { data, lines } = pageData(lineage, colours, rulesOf(lineage))
  const quantities = quantitiesOf(lineage)
  const { output } = lineage
  const whole = options.wholePath === true
  const name = nameOf(output, options)
  const title = `${whole ? 'Path' : 'Lineage of'} ${escapeHtml(name)}`
  const at = whole && output.point ? ` at t = ${short(output.point.t)}` : ''
  const sections = [
    section(
      'graph',
      'How it was made',
      graphDrawing(graphOf(lineage, name, colours, whole ? options.curve : undefined)),
    ),
    section('layers', `By layer and module${at}`, layers(lineage, colours, quantities)),
    section('evaluations', 'Metrics', curves(lineage, options.curve, whole)),
    section('alignments', 'Alignments', alignments(lineage)),
    section('parameters', `Parameters by layer${at}`, parameters(lineage, quantities)),
    section('steps', 'Steps', steps(lineage, colours)),
    section('models', 'Models', models(lineage, colours)),
    section('history', 'History', history(options.ancestors ?? [])),
    section('recipe', 'Recipe', recipeText(lineage)),
    section('copies', 'Copied tensors and skipped models', copies(lineage)),
    section('tensors', `Tensors${at}`, tensorTable(lineage, data)),
    section('files', `Output files${at}`, outputFiles(output)),
    section('digests', 'Digests', digests(lineage, whole)),
  ]
  return framed({
    ...{ title, style: STYLE, script: SCRIPT, sections },
    head: `${headText(lineage, options)}
${summary(lineage, colours, whole ? options.curve : undefined)}`,
    data: `<script type="application/json" id="data">${scriptJson(data)}</script>
<script type="text/plain" id="merges">${scriptLines(lines.merges)}</script>
<script type="text/plain" id="parameters-of-merges">${scriptLines(lines.parameters)}</script>`,
  })
}
