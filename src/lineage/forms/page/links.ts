/** Links to papers and to models on the hub. Only addresses that these forms allow become links. */
import { lookupMethod } from '../../../methods/registry.js'
import { code, escapeHtml, siteLink } from './html.js'

/** A method's paper, by the registry; empty if it has none. */
export function paperLink(method: string): string {
  const paper = lookupMethod(method)?.paper
  return paper === undefined ? '' : siteLink(`https://arxiv.org/abs/${paper}`, `arXiv ${escapeHtml(paper)}`)
}

/** `hf:OWNER/NAME` or `hf:NAME`, with `@REVISION`. */
const HUB = /^hf:([A-Za-z0-9][\w.-]*(?:\/[A-Za-z0-9][\w.-]*)?)(?=@|$)/

/** A model's reference; a link if it is on the hub. */
export function referenceLink(reference: string): string {
  const name = HUB.exec(reference)?.[1]
  return name === undefined ? code(reference) : siteLink(`https://huggingface.co/${name}`, code(reference))
}
