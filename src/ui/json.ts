import { toJson } from './text.js'
import type { Renderer } from './types.js'

/** Shows a run as one line of JSON per event. */
export const jsonRenderer = (stream: { write(text: string): unknown }): Renderer => ({
  listen: (event) => void stream.write(`${toJson(event, 0)}\n`),
  finish: async () => {},
})
