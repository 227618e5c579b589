import { familyOf, findMethod } from 'terge'

console.log(familyOf(findMethod('slerp')), familyOf(findMethod('ties')))
