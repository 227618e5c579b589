// The presets of layouts, from their families.
import { FAMILIES } from '../../dist/src/layouts/index.js'
import { table, ticks } from './markdown.mjs'

const sure = ({ types, byNames }) =>
  [
    ...(byNames ? ['names and shapes'] : []),
    ...(types.length > 0 ? [`model types ${types.map(ticks).join(', ')}`] : []),
  ].join('; ') || 'the recipe'

export const layoutTable = () =>
  table(
    ['networks', 'layouts', 'certain by'],
    FAMILIES.map((family) => [
      family.title,
      family.forms.map(({ name, says }) => `${ticks(`${family.name}/${name}`)}: ${says}`).join('<br>'),
      sure(family),
    ]),
  )
