import type { KnownLayout, ModelLayout } from '../index.js'
import { wrappedLines } from './fit.js'
import { printable } from './text.js'

/** All layouts, by network. In lines of at most `width` columns, where it can be. */
export function layoutsText(layouts: readonly KnownLayout[], width: number): string {
  const families = [...new Set(layouts.map(({ name }) => name.split('/')[0]!))]
  return families
    .map((family) => {
      const own = layouts.filter(({ name }) => name.startsWith(`${family}/`))
      const { networks, types, byNames } = own[0]!
      const sure = [
        ...(types.length > 0 ? [`model_type: ${types.join(', ')}`] : []),
        ...(byNames ? ['certain by its names and shapes'] : []),
      ]
      return [
        networks,
        ...sure.map((line) => wrappedLines(`      ${line}`, width)),
        ...own.map(({ name, says }) => wrappedLines(`  ${name}: ${says}`, width)),
      ].join('\n')
    })
    .join('\n\n')
}

/** The layouts of a model: what it has, how certain that is, and what it can be read as. The others in one line. */
export function modelLayoutsText(model: string, layouts: readonly ModelLayout[], width: number): string {
  if (layouts.length === 0) return `${printable(model)}: no layout that terge knows; its tensors are read as they are`
  const certain = layouts.filter((one) => one.certain)
  const others = layouts.filter((one) => !one.certain)
  const blocks = certain.map(({ name, says, networks, why, others }) => [
    `${name}: ${says ?? 'some tensors have one layout and some another'}`,
    `      certain: ${printable(why)}`,
    `      networks: ${networks}`,
    `      can be read as: ${others.join(', ')}`,
  ])
  const types = new Set(others.flatMap(({ otherTypes = [] }) => otherTypes))
  if (certain.length === 0 && others.every(({ otherTypes }) => otherTypes)) {
    const names = `      ${others.map(({ name }) => name).join(', ')}`
    const nothing = `nothing to convert: terge knows no other layout of the model type ${printable([...types].join(', '))}`
    const some =
      'these layouts of other networks have the same names, for layout in a recipe or --from of terge convert:'
    return [nothing, `${some}\n${names}`].map((text) => wrappedLines(text, width)).join('\n\n')
  }
  if (certain.length === 0) blocks.push(['no layout is certain'])
  for (const why of new Set(others.map((one) => one.why)))
    blocks.push([
      `not certain: ${printable(why)}`,
      `      ${others
        .filter((one) => one.why === why)
        .map(({ name }) => name)
        .join(', ')}`,
    ])
  return blocks.map((lines) => wrappedLines(lines.join('\n'), width)).join('\n\n')
}
