/** Convolutional networks of torchvision whose widths and depths are free. */
import type { Architecture } from '../architecture.js'
import { type Channels, demand, type Net } from '../network.js'
import { add, chunk, concat, conv, count, head, linear, norm, perChannel, shuffle, squeezeExcite } from '../words.js'

/** `nn.Sequential(convolution, norm)`. */
const convNorm = (net: Net, x: Channels | undefined, module: string, first = 0): Channels =>
  norm(net, conv(net, x, `${module}.${first}`), `${module}.${first + 1}`)

/** Each layer reads the outputs of all layers before it in its block. */
function densenet(net: Net): void {
  let x = norm(net, conv(net, undefined, 'features.conv0'), 'features.norm0')
  const blocks = count(net, (k) => `features.denseblock${k + 1}.denselayer1.conv1.weight`)
  for (let block = 1; block <= blocks; block++) {
    const layers = count(net, (k) => `features.denseblock${block}.denselayer${k + 1}.conv1.weight`)
    for (let layer = 1; layer <= layers; layer++) {
      const at = `features.denseblock${block}.denselayer${layer}`
      const inside = norm(net, conv(net, norm(net, x, `${at}.norm1`), `${at}.conv1`), `${at}.norm2`)
      x = concat(x, conv(net, inside, `${at}.conv2`))
    }
    const transition = `features.transition${block}`
    if (block < blocks) x = conv(net, norm(net, x, `${transition}.norm`), `${transition}.conv`)
  }
  head(net, norm(net, x, 'features.norm5'), 'classifier')
}

/** Squeeze widths of the eight Fire modules. Each of the two expanding convolutions has four times as many channels. */
const SQUEEZES = [16, 16, 32, 32, 48, 48, 64, 64]

/** The sizes are those of torchvision: variants with shortcuts around Fire modules have the same names. */
function squeezenet(net: Net): void {
  let x = conv(net, undefined, 'features.0')
  const fires = Array.from({ length: 13 }, (_, k) => `features.${k}`).filter((at) => net.has(`${at}.squeeze.weight`))
  const places = fires.map((at) => Number(at.slice('features.'.length))).join()
  demand(places === '3,4,5,7,8,9,10,12' || places === '3,4,6,7,9,10,11,12', 'other Fire modules')
  demand(x.length === (places.startsWith('3,4,5') ? 96 : 64), 'another first layer')
  for (const [k, at] of fires.entries()) {
    const squeezed = conv(net, x, `${at}.squeeze`)
    x = concat(conv(net, squeezed, `${at}.expand1x1`), conv(net, squeezed, `${at}.expand3x3`))
    demand(squeezed.length === SQUEEZES[k] && x.length === 8 * SQUEEZES[k], `${at} has another width`)
  }
  const classes = conv(net, x, 'classifier.1')
  net.fix(classes, 'the outputs of the network keep their order')
}

/** Half of the channels skip a block; then both halves are shuffled. */
function shufflenet(net: Net): void {
  let x = convNorm(net, undefined, 'conv1')
  for (const stage of [2, 3, 4]) {
    const blocks = count(net, (k) => `stage${stage}.${k}.branch2.0.weight`)
    for (let k = 0; k < blocks; k++) {
      const at = `stage${stage}.${k}`
      const [kept, changed] = k > 0 ? chunk(x, 2) : [x, x]
      const left = k > 0 ? kept! : convNorm(net, convNorm(net, kept, `${at}.branch1`), `${at}.branch1`, 2)
      const wide = convNorm(net, convNorm(net, changed, `${at}.branch2`), `${at}.branch2`, 3)
      x = shuffle(concat(left, convNorm(net, wide, `${at}.branch2`, 5)), 2)
    }
  }
  head(net, convNorm(net, x, 'conv5'), 'fc')
}

function regnet(net: Net): void {
  let x = convNorm(net, undefined, 'stem')
  const stages = count(net, (k) => `trunk_output.block${k + 1}.block${k + 1}-0.f.a.0.weight`)
  for (let stage = 1; stage <= stages; stage++) {
    const name = (k: number) => `trunk_output.block${stage}.block${stage}-${k}`
    const blocks = count(net, (k) => `${name(k)}.f.a.0.weight`)
    for (let k = 0; k < blocks; k++) {
      const at = name(k)
      const shortcut = net.has(`${at}.proj.0.weight`) ? convNorm(net, x, `${at}.proj`) : x
      let inside = convNorm(net, convNorm(net, x, `${at}.f.a`), `${at}.f.b`)
      if (net.has(`${at}.f.se.fc1.weight`)) inside = squeezeExcite(net, inside, `${at}.f.se`)
      x = add(net, shortcut, convNorm(net, inside, `${at}.f.c`), at)
    }
  }
  head(net, x, 'fc')
}

/** Depthwise blocks with a shortcut, and a factor per channel at their ends. */
function convnext(net: Net): void {
  let x = norm(net, conv(net, undefined, 'features.0.0'), 'features.0.1')
  const parts = count(net, (k) => `features.${k}.${k % 2 === 0 ? '1.weight' : '0.block.0.weight'}`)
  demand(parts % 2 === 0, 'no last stage')
  for (let part = 1; part < parts; part += 2) {
    if (part > 1) x = conv(net, norm(net, x, `features.${part - 1}.0`), `features.${part - 1}.1`)
    const blocks = count(net, (k) => `features.${part}.${k}.block.0.weight`)
    for (let k = 0; k < blocks; k++) {
      const at = `features.${part}.${k}`
      const inside = norm(net, conv(net, x, `${at}.block.0`), `${at}.block.2`)
      const out = linear(net, linear(net, inside, `${at}.block.3`), `${at}.block.5`)
      perChannel(net, out, `${at}.layer_scale`, 3)
      x = add(net, x, out, at)
    }
  }
  head(net, norm(net, x, 'classifier.0'), 'classifier.2')
}

export const CONVOLUTIONAL: readonly Architecture[] = [
  { name: 'densenet', sign: /features\.denseblock1\.denselayer1\.norm1\.weight$/, forward: densenet },
  { name: 'squeezenet', sign: /features\.3\.squeeze\.weight$/, forward: squeezenet },
  { name: 'shufflenet', sign: /stage2\.0\.branch2\.0\.weight$/, forward: shufflenet },
  { name: 'regnet', sign: /trunk_output\.block1\.block1-0\.f\.a\.0\.weight$/, forward: regnet },
  { name: 'convnext', sign: /features\.1\.0\.layer_scale$/, forward: convnext },
]
