/** A search on a terminal: a bar, the checkpoints under way, the best trial and the last ones, redrawn in place. */
import { counted } from '../../core/words.js'
import type { RunEvent, SearchEvent, TrialData } from '../../index.js'
import { diagnosticText, showsColours } from '../problems.js'
import { barLines, type Look, shortened } from '../progress/bar.js'
import { formatProgress, meter, type Progress, stepMeter } from '../progress/meter.js'
import { picture } from '../progress/picture.js'
import { lookOf } from '../progress/terminal.js'
import { type Phases, STOP_HINT } from '../progress/types.js'
import { formatSeconds, printable, table } from '../text.js'
import type { SearchRenderer } from './types.js'
import { metricsText, repeatText, short, shortNames } from './words.js'

const PHASES: Phases = ['preparing', 'searching', 'making the best again']
const [SEARCHING, REPEATING] = [1, 2] as const
/** How many of the last trials the table shows. */
const ROWS = 8

type Begin = Extract<SearchEvent, { kind: 'search' }>
type Under = Extract<SearchEvent, { kind: 'trial-state' }>

/** What is known of a search, for its table. */
interface State {
  begin?: Begin
  done: number
  /** Ended in this process. */
  ended: number
  since: number
  best?: TrialData
  readonly last: TrialData[]
  readonly under: Map<number, Under>
}

/** The table: the best trial first, then the last ones, then those under way. */
function tableLines({ begin, best, last, under }: State): string[] {
  const paths = begin?.parameters ?? []
  const columns = [
    { title: 'trial', align: 'right' as const },
    ...shortNames(paths).map((title) => ({ title, align: 'right' as const })),
    { title: 'score', align: 'right' as const },
    { title: '' },
  ]
  const row = (trial: Pick<TrialData, 'trial' | 'parameters'>, score: string, words: string) => [
    String(trial.trial),
    ...paths.map((path) => short(trial.parameters[path]!)),
    ...[score, words],
  ]
  const ended = (trial: TrialData, word = '') =>
    trial.score === undefined
      ? row(trial, 'failed', printable(trial.reason ?? '').split('\n')[0]!)
      : row(trial, short(trial.score), [word, metricsText(trial)].filter((text) => text !== '').join(': '))
  const rows = [
    ...(best ? [ended(best, 'best')] : []),
    ...last.filter(({ trial }) => trial !== best?.trial).map((trial) => ended(trial)),
    ...[...under.values()].sort((a, b) => a.trial - b.trial).map((one) => row(one, '', one.state)),
  ]
  return rows.length === 0 ? [] : table(columns, rows).split('\n')
}

function searchLines(state: State, now: number, look: Look): string[] {
  const { begin, done, ended, since } = state
  if (!begin) return ['searching']
  const left = ended > 0 && done < begin.trials ? ((now - since) / ended) * (begin.trials - done) : undefined
  const progress: Progress = {
    fraction: begin.trials > 0 ? done / begin.trials : 0,
    rate: 0,
    ...(left === undefined ? {} : { secondsLeft: left }),
  }
  const lines = [`${done} of ${begin.trials} trials, ${begin.method}`, ...tableLines(state)]
  return [...barLines('searching', progress, look), ...lines.map((line) => shortened(line, look.width))]
}

/** `now` in seconds. */
export function searchTable(stream: NodeJS.WriteStream, now: () => number): SearchRenderer {
  const inColour = showsColours(stream, process.env)
  const look = lookOf(stream, inColour)
  const state: State = { done: 0, ended: 0, since: now(), last: [], under: new Map() }
  const { start, progress } = meter(now)
  const progressOfStep = stepMeter(now)
  const notices: string[] = []
  let stopping = false
  let [far, below, after]: [Progress | undefined, string, string] = [undefined, '', '']
  const text = (phase: number, over: boolean): string => {
    const name = PHASES[phase]!
    const fit = (line: string) => shortened(line, look().width)
    if (phase === SEARCHING && over && state.begin) {
      const best = state.best ? `, best ${short(state.best.score!)} in trial ${state.best.trial}` : ''
      return fit(`${name}: ${state.done} of ${counted(state.begin.trials, 'trial')}${best}`)
    }
    if (over || drawing.current() !== phase)
      return fit(phase === REPEATING && after !== '' ? `${name}: ${after}` : name)
    if (stopping) return [fit(`${name}: stopping`), fit(STOP_HINT)].join('\n')
    if (phase === SEARCHING) return searchLines(state, now(), look()).join('\n')
    return [...(far ? barLines(name, far, look()) : [fit(name)]), ...(below === '' ? [] : [fit(below)])].join('\n')
  }
  const drawing = picture(stream, PHASES, text)
  const reach = (phase: number): void => {
    ;[far, below] = [undefined, '']
    drawing.draw()
    drawing.reach(phase)
    drawing.redraw(phase)
  }
  const ofRun = (event: RunEvent): void => {
    if (event.kind === 'start') start(event)
    else if (event.kind === 'progress') far = progress(event)
    else if (event.kind === 'step') {
      far = progressOfStep(event) ?? far
      below = `${printable(event.step)}: ${printable(event.text)}`
    } else if (event.kind === 'notice') notices.push(`note: ${printable(event.message)}`)
    else if (event.kind === 'warning') notices.push(diagnosticText(event.diagnostic, inColour))
    else if (event.kind === 'end')
      after = [far ? formatProgress(far) : '', `done in ${formatSeconds(event.seconds)}`]
        .filter((one) => one !== '')
        .join(', ')
    if (drawing.current() === SEARCHING) return
    drawing.draw()
    drawing.redraw(drawing.current())
  }
  return {
    listen(event) {
      switch (event.kind) {
        case 'search':
          Object.assign(state, { begin: event, done: event.done, since: now() })
          reach(SEARCHING)
          break
        case 'trial-state':
          state.under.set(event.place, event)
          drawing.redraw(SEARCHING)
          break
        case 'trial':
          tookTrial(state, event)
          drawing.redraw(SEARCHING)
          break
        case 'repeat':
          reach(REPEATING)
          below = repeatText(event)
          drawing.redraw(REPEATING)
          break
        default:
          ofRun(event)
      }
    },
    stopping() {
      stopping = true
      if (!drawing.drawn()) return void stream.write(`stopping; ${STOP_HINT}\n`)
      drawing.redraw(drawing.current())
    },
    async finish(outcome) {
      await drawing.close(outcome)
      for (const line of notices) stream.write(`${line}\n`)
    },
  }
}

function tookTrial(state: State, { trial, done, best }: Extract<SearchEvent, { kind: 'trial' }>): void {
  state.done = done
  state.ended++
  if (best) state.best = best
  state.last.push(trial)
  if (state.last.length > ROWS) state.last.shift()
  for (const [place, one] of state.under) if (one.trial === trial.trial) state.under.delete(place)
}
