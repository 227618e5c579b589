/** Elements of the page. Everything from the lineage becomes text, never HTML. */
import { visible } from '../numbers.js'

export function byId<T extends HTMLElement = HTMLElement>(id: string): T {
  const found = document.getElementById(id)
  if (!found) throw new Error(`no element ${id}`)
  return found as T
}

export function make<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  className = '',
  ...children: (Node | string)[]
): HTMLElementTagNameMap[K] {
  const node = document.createElement(tag)
  if (className !== '') node.className = className
  node.append(...children.map((child) => (typeof child === 'string' ? visible(child) : child)))
  return node
}

export function link(address: string, content: string): HTMLAnchorElement {
  const node = make('a', '', content)
  node.href = address
  return node
}
