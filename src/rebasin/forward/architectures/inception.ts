/** GoogLeNet and Inception v3 of torchvision: parallel branches whose channels are put together. */
import type { Architecture } from '../architecture.js'
import { type Channels, demand, type Net } from '../network.js'
import { concat, conv, flatten, head, linear, norm } from '../words.js'

/** Convolutions with norms, one after another. */
const convs = (net: Net, x: Channels | undefined, ...modules: readonly string[]): Channels => {
  let out = x
  for (const module of modules) out = norm(net, conv(net, out, `${module}.conv`), `${module}.bn`)
  return out!
}

type Branches = readonly (readonly (string | readonly string[])[])[]

/** Each branch reads the block's input. A list of names in a branch: layers that read the same. An empty branch is a pooling. */
function block(net: Net, x: Channels, at: string, branches: Branches): Channels {
  const outs = branches.map((branch) => {
    let own = x
    for (const step of branch)
      own =
        typeof step === 'string'
          ? convs(net, own, `${at}.${step}`)
          : concat(...step.map((name) => convs(net, own, `${at}.${name}`)))
    return own
  })
  return concat(...outs)
}

const GOOGLENET: Branches = [['branch1'], ['branch2.0', 'branch2.1'], ['branch3.0', 'branch3.1'], ['branch4.1']]
/** Channels after each block. */
const GOOGLENET_WIDTHS = {
  '3a': 256,
  '3b': 480,
  '4a': 512,
  '4b': 512,
  '4c': 512,
  '4d': 528,
  '4e': 832,
  '5a': 832,
  '5b': 1024,
}

function googlenet(net: Net): void {
  let x = convs(net, undefined, 'conv1', 'conv2', 'conv3')
  for (const [name, width] of Object.entries(GOOGLENET_WIDTHS)) {
    x = block(net, x, `inception${name}`, GOOGLENET)
    demand(x.length === width, `inception${name} has another width`)
    const auxiliary = { '4a': 'aux1', '4d': 'aux2' }[name]
    if (auxiliary === undefined || !net.has(`${auxiliary}.conv.conv.weight`)) continue
    // A picture of 4 × 4 places.
    const pooled = flatten(net, convs(net, x, `${auxiliary}.conv`), 16)
    head(net, linear(net, pooled, `${auxiliary}.fc1`), `${auxiliary}.fc2`)
  }
  head(net, x, 'fc')
}

const A: Branches = [
  ['branch1x1'],
  ['branch5x5_1', 'branch5x5_2'],
  ['branch3x3dbl_1', 'branch3x3dbl_2', 'branch3x3dbl_3'],
  ['branch_pool'],
]
const B: Branches = [['branch3x3'], ['branch3x3dbl_1', 'branch3x3dbl_2', 'branch3x3dbl_3'], []]
const C: Branches = [
  ['branch1x1'],
  ['branch7x7_1', 'branch7x7_2', 'branch7x7_3'],
  ['branch7x7dbl_1', 'branch7x7dbl_2', 'branch7x7dbl_3', 'branch7x7dbl_4', 'branch7x7dbl_5'],
  ['branch_pool'],
]
const D: Branches = [
  ['branch3x3_1', 'branch3x3_2'],
  ['branch7x7x3_1', 'branch7x7x3_2', 'branch7x7x3_3', 'branch7x7x3_4'],
  [],
]
const E: Branches = [
  ['branch1x1'],
  ['branch3x3_1', ['branch3x3_2a', 'branch3x3_2b']],
  ['branch3x3dbl_1', 'branch3x3dbl_2', ['branch3x3dbl_3a', 'branch3x3dbl_3b']],
  ['branch_pool'],
]
const INCEPTION: readonly (readonly [string, Branches, number])[] = [
  ['Mixed_5b', A, 256],
  ['Mixed_5c', A, 288],
  ['Mixed_5d', A, 288],
  ['Mixed_6a', B, 768],
  ['Mixed_6b', C, 768],
  ['Mixed_6c', C, 768],
  ['Mixed_6d', C, 768],
  ['Mixed_6e', C, 768],
  ['Mixed_7a', D, 1280],
  ['Mixed_7b', E, 2048],
  ['Mixed_7c', E, 2048],
]
const STEM = ['Conv2d_1a_3x3', 'Conv2d_2a_3x3', 'Conv2d_2b_3x3', 'Conv2d_3b_1x1', 'Conv2d_4a_3x3']

function inception(net: Net): void {
  let x = convs(net, undefined, ...STEM)
  for (const [name, branches, width] of INCEPTION) {
    x = block(net, x, name, branches)
    demand(x.length === width, `${name} has another width`)
    if (name !== 'Mixed_6e' || !net.has('AuxLogits.conv0.conv.weight')) continue
    head(net, convs(net, x, 'AuxLogits.conv0', 'AuxLogits.conv1'), 'AuxLogits.fc')
  }
  head(net, x, 'fc')
}

export const INCEPTIONS: readonly Architecture[] = [
  { name: 'googlenet', sign: /inception3a\.branch1\.conv\.weight$/, forward: googlenet },
  { name: 'inception', sign: /Mixed_5b\.branch1x1\.conv\.weight$/, forward: inception },
]
