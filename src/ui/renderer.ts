import { jsonRenderer } from './json.js'
import { plainRenderer } from './plain.js'
import type { Renderer } from './types.js'

export type RendererKind = 'terminal' | 'plain' | 'json'

export interface RendererOptions {
  /** Where it writes. */
  readonly stream: NodeJS.WriteStream
  /** Seconds from any fixed moment. */
  readonly now?: () => number
}

const monotonic = (): number => performance.now() / 1000

/** A renderer of that kind. The terminal's program is loaded only when it is asked for. */
export async function renderer(kind: RendererKind, { stream, now = monotonic }: RendererOptions): Promise<Renderer> {
  if (kind === 'json') return jsonRenderer(stream)
  if (kind === 'plain') return plainRenderer(stream, now)
  const { terminalRenderer } = await import('./terminal.js')
  return terminalRenderer(stream, now)
}

/** Columns below which a picture would be cut to nothing; a terminal of unknown size says 0. */
const NARROWEST = 20

/** The kind that suits a stream: JSON where asked for, pictures only where a terminal can draw them. */
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
