// SPDX-License-Identifier: Apache-2.0

// The part of Preact 8 that the panel uses, with its types. Debian's package
// carries types of its own, which know fewer attributes than browsers do.
declare module "preact" {
  export type Child = VNode | string | number | null | undefined | false;
  export type Children = Child | Child[] | Children[];
  export interface VNode {
    nodeName: unknown;
  }
  export abstract class Component<P = object, S = object> {
    constructor(props?: P);
    readonly props: Readonly<P> & { readonly children?: Children };
    state: Readonly<S>;
    base?: HTMLElement;
    setState(change: Partial<S>): void;
    componentDidMount?(): void;
    componentWillUnmount?(): void;
    componentDidUpdate?(before: P): void;
    shouldComponentUpdate?(next: P, state: S): boolean;
    abstract render(): Child;
  }
  export function h(name: unknown, attributes?: object | null, ...children: Children[]): VNode;
  export function render(what: VNode, parent: Element, replace?: Element): Element;
}

declare namespace JSX {
  type Element = import("preact").VNode;
  interface ElementClass {
    render(): import("preact").Child;
  }
  interface ElementAttributesProperty {
    props: object;
  }
  interface ElementChildrenAttribute {
    children: object;
  }
  interface IntrinsicAttributes {
    key?: string | number;
  }
  interface IntrinsicElements {
    [name: string]: Attributes;
  }
  interface Attributes {
    // No dangerouslySetInnerHTML: text from others is only ever a text node.
    [name: string]: unknown;
    dangerouslySetInnerHTML?: never;
    key?: string | number;
    class?: string;
    ref?: (e: HTMLElement | null) => void;
    children?: import("preact").Children;
    onClick?: (e: MouseEvent) => void;
    onKeyDown?: (e: KeyboardEvent) => void;
  }
}
