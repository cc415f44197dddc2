"""Plans that are proposed, from what tools say of themselves and from what they answer."""
