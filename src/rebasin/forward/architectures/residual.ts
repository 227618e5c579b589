/** Residual networks as parts of others, and those of transformers. */
import type { Architecture } from '../architecture.js'
import { type Channels, demand, type Net } from '../network.js'
import { add, concat, conv, count, head, norm, output, squeezeExcite } from '../words.js'

/** ResNets of torchvision: the outputs of the last two stages. */
function resnetStages(net: Net, at: string): { readonly before: Channels; readonly last: Channels } {
  let x = norm(net, conv(net, undefined, `${at}.conv1`), `${at}.bn1`)
  let before = x
  for (const stage of [1, 2, 3, 4]) {
    before = x
    const blocks = count(net, (k) => `${at}.layer${stage}.${k}.conv1.weight`)
    demand(blocks > 0, `no layer${stage}`)
    for (let k = 0; k < blocks; k++) {
      const block = `${at}.layer${stage}.${k}`
      let inside = x
      for (let layer = 1; net.has(`${block}.conv${layer}.weight`); layer++)
        inside = norm(net, conv(net, inside, `${block}.conv${layer}`), `${block}.bn${layer}`)
      const other = net.has(`${block}.downsample.0.weight`)
      const shortcut = other ? norm(net, conv(net, x, `${block}.downsample.0`), `${block}.downsample.1`) : x
      x = add(net, shortcut, inside, block)
    }
  }
  return { before, last: x }
}

/** Widths after the blocks of MobileNetV3-Large. A dilated one may have half of them in the last three. */
const LARGE = [16, 16, 24, 24, 40, 40, 40, 80, 80, 80, 80, 112, 112]

/** The features of MobileNetV3-Large, and those of its second stage. */
function mobilenetLarge(net: Net, at: string): { readonly before: Channels; readonly last: Channels } {
  let x = unit(net, undefined, `${at}.0`)
  let before = x
  for (let k = 1; k <= 15; k++) {
    const block = `${at}.${k}.block`
    let inside = x
    for (let part = 0; net.unread(`${block}.${part}.`).length > 0; part++) {
      const own = `${block}.${part}`
      inside = net.has(`${own}.fc1.weight`) ? squeezeExcite(net, inside, own) : unit(net, inside, own)
    }
    x = inside.length === x.length ? add(net, x, inside, block) : inside
    demand(x.length === (LARGE[k] ?? x.length), `${block} has another width`)
    if (k === 4) before = x
  }
  return { before, last: unit(net, x, `${at}.16`) }
}

/** A convolution and its norm in an `nn.Sequential`. */
const unit = (net: Net, x: Channels | undefined, at: string, first = 0): Channels =>
  norm(net, conv(net, x, `${at}.${first}`), `${at}.${first + 1}`)

/** DeepLab, FCN and LRASPP over a backbone. */
function segmentation(net: Net): void {
  const isMobile = net.has('backbone.0.0.weight')
  const { before, last } = isMobile ? mobilenetLarge(net, 'backbone') : resnetStages(net, 'backbone')
  const fcn = (x: Channels, at: string) => output(net, conv(net, unit(net, x, at), `${at}.4`))
  if (net.has('aux_classifier.0.weight')) fcn(before, 'aux_classifier')
  if (net.has('classifier.cbr.0.weight')) {
    const x = add(net, unit(net, last, 'classifier.cbr'), conv(net, last, 'classifier.scale.1'), 'classifier.scale')
    output(net, conv(net, x, 'classifier.high_classifier'))
    output(net, conv(net, before, 'classifier.low_classifier'))
    return
  }
  if (!net.has('classifier.0.convs.0.0.weight')) fcn(last, 'classifier')
  else pyramid(net, last)
}

/** Convolutions of several rates, whose channels are put together. */
function pyramid(net: Net, last: Channels): void {
  const rates = count(net, (k) => `classifier.0.convs.${k}.0.weight`)
  const parts = Array.from({ length: rates }, (_, k) => unit(net, last, `classifier.0.convs.${k}`))
  parts.push(unit(net, last, `classifier.0.convs.${rates}`, 1))
  const x = unit(net, unit(net, concat(...parts), 'classifier.0.project'), 'classifier', 1)
  output(net, conv(net, x, 'classifier.4'))
}

/** ResNets of transformers: blocks of two or three layers. */
function huggingFaceResnet(net: Net): void {
  const at = net.has('resnet.embedder.embedder.convolution.weight') ? 'resnet.' : ''
  const unit = (x: Channels | undefined, name: string) =>
    norm(net, conv(net, x, `${name}.convolution`), `${name}.normalization`)
  let x = unit(undefined, `${at}embedder.embedder`)
  const stages = count(net, (k) => `${at}encoder.stages.${k}.layers.0.layer.0.convolution.weight`)
  const outs: Channels[] = []
  for (let stage = 0; stage < stages; stage++) {
    const name = (k: number) => `${at}encoder.stages.${stage}.layers.${k}`
    const blocks = count(net, (k) => `${name(k)}.layer.0.convolution.weight`)
    for (let k = 0; k < blocks; k++) {
      const layers = count(net, (layer) => `${name(k)}.layer.${layer}.convolution.weight`)
      let inside = x
      for (let layer = 0; layer < layers; layer++) inside = unit(inside, `${name(k)}.layer.${layer}`)
      const other = net.has(`${name(k)}.shortcut.convolution.weight`)
      x = add(net, other ? unit(x, `${name(k)}.shortcut`) : x, inside, name(k))
    }
    outs.push(x)
  }
  // Without a classifier, the outputs of all stages can be those of the network.
  if (net.unread('classifier.').length === 0) for (const out of outs) output(net, out)
  else head(net, x, 'classifier.1')
}

export const RESIDUAL: readonly Architecture[] = [
  { name: 'segmentation', sign: /^(?=(backbone\.)(?:0\.0|conv1)\.weight$)/, forward: segmentation },
  {
    name: 'resnet-transformers',
    sign: /(resnet\.)?embedder\.embedder\.convolution\.weight$/,
    forward: huggingFaceResnet,
  },
]
