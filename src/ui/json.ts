import { toJson } from './text.js'
import type { Renderer } from './types.js'

/** Each event as one line of JSON. */
export const jsonRenderer = (stream: { write(text: string): unknown }): Renderer => ({
  listen: (event) => void stream.write(`${toJson(event, 0)}\n`),
  finish: async () => {},
})
