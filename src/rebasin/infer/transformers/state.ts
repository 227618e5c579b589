/** State-space models. */
import type { Shapes } from '../../spec.js'
import { setting } from '../builder.js'
import { type Config, type Family, norm, type Row } from './family.js'

const common: readonly Row[] = [
  [/(embeddings?|lm_head)\.weight$/, [null, 'hidden']],
  [/(norm_f|layers\.\d+\.norm)\.weight$/, norm],
]

const shapeOf = (shapes: Shapes, pattern: RegExp) => [...shapes].find(([name]) => pattern.test(name))?.[1].shape ?? []

/** Channels of a layer, its states, and the places that its step sizes are computed from (arXiv 2312.00752). */
export const mamba: Family = {
  name: 'mamba',
  sign: /layers\.\d+\.mixer\.x_proj\.weight$/,
  layer: /layers\.\d+/,
  heads: [],
  query: /x_proj\.weight$/,
  rows: [
    ...common,
    [/mixer\.in_proj\.weight$/, [['*.channels', '*.channels'], 'hidden']],
    [/mixer\.in_proj\.bias$/, [['*.channels', '*.channels']]],
    [/mixer\.conv1d\.(weight|bias)$/, ['*.channels']],
    [/mixer\.dt_proj\.weight$/, ['*.channels', '*.step']],
    [/mixer\.dt_proj\.bias$/, ['*.channels']],
    [/mixer\.A_log$/, ['*.channels', '*.state']],
    [/mixer\.D$/, ['*.channels']],
    [/mixer\.out_proj\.weight$/, ['hidden', '*.channels']],
    [/mixer\.out_proj\.bias$/, norm],
  ],
  choose: (shapes) => {
    const [, states = 0] = shapeOf(shapes, /mixer\.A_log$/)
    const [, steps = 0] = shapeOf(shapes, /mixer\.dt_proj\.weight$/)
    const state = `*.state=${states}`
    return [[/mixer\.x_proj\.weight$/, [[`*.step=${steps}`, state, state], '*.channels']]]
  },
}

/** Heads of channels and states, in groups (arXiv 2405.21060). */
export const mamba2: Family = {
  name: 'mamba2',
  sign: /layers\.\d+\.mixer\.dt_bias$/,
  layer: /layers\.\d+/,
  heads: [],
  query: /in_proj\.weight$/,
  rows: [...common, [/mixer\.out_proj\.bias$/, norm]],
  choose: (shapes, config) => mixerRows(shapes, config) ?? [[/mixer\.in_proj\.weight$/, [null, 'hidden']], ...stays],
  keeps: (shapes, config) =>
    mixerRows(shapes, config) ? {} : { heads: 'the number of groups of heads is not known without config.json' },
}

const stays: readonly Row[] = [
  [/mixer\.(in_proj\.bias|conv1d\.(weight|bias)|dt_bias|A_log|D|norm\.weight)$/, []],
  [/mixer\.out_proj\.weight$/, ['hidden']],
]

function mixerRows(shapes: Shapes, config: Config): readonly Row[] | undefined {
  const [heads = 0] = shapeOf(shapes, /mixer\.dt_bias$/)
  const [channels = 0] = shapeOf(shapes, /mixer\.norm\.weight$/)
  const [convolved = 0] = shapeOf(shapes, /mixer\.conv1d\.weight$/)
  const [rows = 0] = shapeOf(shapes, /mixer\.in_proj\.weight$/)
  const groups = setting(config, 'n_groups', 'ngroups')
  const width = channels / heads
  const states = (convolved - channels) / 2 / (groups ?? 1)
  const fits = rows === channels + convolved + heads && [width, states].every((n) => Number.isInteger(n) && n > 0)
  if (groups === undefined || !fits || heads % groups !== 0) return undefined
  // Each group has heads and states of its own.
  const [head, state] =
    groups === 1
      ? [`*.heads=${heads}`, `*.state=${states}`]
      : [`*.groups=${groups}*.heads=${heads / groups}`, `*.groups=${groups}*.state=${states}`]
  const channel = groups === 1 ? `${head}*.channels=${width}` : `${head}*${width}`
  return [
    [/mixer\.in_proj\.weight$/, [[channel, channel, state, state, head], 'hidden']],
    [/mixer\.in_proj\.bias$/, [[channel, channel, state, state, head]]],
    [/mixer\.conv1d\.(weight|bias)$/, [[channel, state, state]]],
    [/mixer\.(dt_bias|A_log|D)$/, [head]],
    [/mixer\.norm\.weight$/, [channel]],
    [/mixer\.out_proj\.weight$/, ['hidden', channel]],
  ]
}
