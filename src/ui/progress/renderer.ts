import { showsColours } from '../problems.js'
import { jsonRenderer } from './json.js'
import { plainRenderer } from './plain.js'
import type { Phases, Renderer } from './types.js'

export type RendererKind = 'terminal' | 'plain' | 'json'

export interface RendererOptions {
  readonly stream: NodeJS.WriteStream
  /** A clock in seconds, from any fixed moment. */
  readonly now?: () => number
  /** What a terminal shows of the work. Default: the phases of a run. */
  readonly phases?: Phases
}

const RUN: Phases = ['preparing', 'merging', 'publishing']

const monotonic = (): number => performance.now() / 1000

/** Makes a renderer. The terminal's dependencies are loaded only if it is used. */
export async function renderer(
  kind: RendererKind,
  { stream, now = monotonic, phases = RUN }: RendererOptions,
): Promise<Renderer> {
  if (kind === 'json') return jsonRenderer(stream)
  if (kind === 'plain') return plainRenderer(stream, now, showsColours(stream, process.env))
  const { terminalRenderer } = await import('./terminal.js')
  return terminalRenderer(stream, now, phases)
}

/** Narrower terminals get plain lines; a terminal of unknown size reports 0 columns. */
const NARROWEST = 20

/** Which renderer suits a stream: JSON if requested, `terminal` only on a terminal that can redraw lines. */
export function rendererKind(
  json: boolean,
  stream: { readonly isTTY?: boolean; readonly columns?: number },
  env: NodeJS.ProcessEnv,
): RendererKind {
  if (json) return 'json'
  const draws =
    stream.isTTY === true && (stream.columns ?? 80) >= NARROWEST && env.TERM !== 'dumb' && env.CI === undefined
  return draws ? 'terminal' : 'plain'
}
