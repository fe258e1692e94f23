"""What each store promises, one ``typing.Protocol`` a module. No implementation and no vendor import belongs here."""
