/** Shows a search while it runs: lines for logs, one JSON object per event, or a live table on a terminal. */
import { counted } from '../../core/words.js'
import type { SearchEvent, SearchListener } from '../../index.js'
import { showsColours } from '../problems.js'
import { plainRenderer } from '../progress/plain.js'
import type { RendererKind } from '../progress/renderer.js'
import { STOP_HINT } from '../progress/types.js'
import { printable, toJson } from '../text.js'
import type { SearchRenderer } from './types.js'
import { metricsText, repeatText, short, valuesText } from './words.js'

const monotonic = (): number => performance.now() / 1000

/** The terminal's dependencies are loaded only if it is used. */
export async function searchRenderer(
  kind: RendererKind,
  stream: NodeJS.WriteStream,
  now = monotonic,
): Promise<SearchRenderer> {
  if (kind === 'json') return jsonLines(stream)
  if (kind === 'plain') return plainLines(stream, now, showsColours(stream, process.env))
  const { searchTable } = await import('./terminal.js')
  return searchTable(stream, now)
}

function jsonLines(stream: { write(text: string): unknown }): SearchRenderer {
  const listen: SearchListener = (event) => void stream.write(`${toJson(event, 0)}\n`)
  const stopping = (): void => listen({ kind: 'notice', message: `stopping; ${STOP_HINT}` })
  return { listen, stopping, finish: async () => {} }
}

const beginLine = ({ method, parameters, trials, parallel, done }: Extract<SearchEvent, { kind: 'search' }>) =>
  `${counted(parameters.length, 'parameter')} with ${method}, ${counted(trials, 'trial')}` +
  `${parallel > 1 ? `, ${parallel} at the same time` : ''}${done > 0 ? `; ${done} recorded before` : ''}`

/** `trial 7 (8 of 60): score 0.81 (accuracy 0.81), the best so far; math 0.7, code 0.4`. */
function trialText({ trial, done, best }: Extract<SearchEvent, { kind: 'trial' }>, trials: number): string {
  const head = `trial ${trial.trial} (${done} of ${trials})`
  if (trial.score === undefined)
    return `${head} failed: ${printable(trial.reason ?? '').split('\n')[0]}; ${valuesText(trial)}`
  const place =
    best?.trial === trial.trial ? 'the best so far' : `best ${short(best?.score ?? 0)} in trial ${best?.trial}`
  return `${head}: score ${short(trial.score)} (${metricsText(trial)}), ${place}; ${valuesText(trial)}`
}

function plainLines(stream: { write(text: string): unknown }, now: () => number, inColour: boolean): SearchRenderer {
  const run = plainRenderer(stream, now, inColour)
  const say = (line: string): void => void stream.write(`${line}\n`)
  let trials = 0
  return {
    ...{ stopping: run.stopping, finish: run.finish },
    listen(event) {
      switch (event.kind) {
        case 'search':
          trials = event.trials
          say(`searching ${beginLine(event)}`)
          break
        case 'trial':
          say(trialText(event, trials))
          break
        case 'repeat':
          say(repeatText(event))
          break
        case 'trial-state':
          break
        default:
          run.listen(event)
      }
    },
  }
}
