import { toJson } from '../text.js'
import { type Renderer, STOP_HINT } from './types.js'

/** Shows a run as one line of JSON per event. */
export function jsonRenderer(stream: { write(text: string): unknown }): Renderer {
  const listen: Renderer['listen'] = (event) => void stream.write(`${toJson(event, 0)}\n`)
  return {
    listen,
    stopping: () => listen({ kind: 'notice', message: `stopping; ${STOP_HINT}` }),
    finish: async () => {},
  }
}
